"""python -m harbor_api.cli"""

from harbor_api.cli import main

main()
