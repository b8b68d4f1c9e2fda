"""How much is fuzzed, and what a header may be made of."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tests.support.examples import many

# Each example asks the same database: what is fuzzed is refused and leaves nothing.
fuzzed = settings(
    max_examples=many(60),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Whatever bytes a header can hold: HTTP gives them to the application as Latin-1.
header_text = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n"), max_size=60)
