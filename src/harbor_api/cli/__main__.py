"""python -m harbor_api.cli"""

from harbor_api.cli.main import main

main()
