"""Names that are syntax somewhere: to a terminal, Rich, matplotlib, SQL, MLflow, Markdown, HTML, a path, an address."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

NAMES = (
    "o'brien",
    'say "hi"',
    "`both` ' and \"",
    "[/b]",
    "[cart]",
    "[link=file:///x]y[/link]",
    ":smile:",
    "$x",
    "$a$ and $\\frac{1}{",
    "100 % \\ {braces} {0}",
    "<b>&amp;</b><script>alert(1)</script>",
    "**bold** _under_ | [text](javascript:alert(1)) #1 ~x~",
    "a/b",
    "a:b",
    "a@b",
    "a?b#c%41",
    "..",
    "-x",
    "--json",
    "; DROP TABLE studies; --",
    "name = 'x' or 1=1",
    "\x1b[31mred\x07",
    "two\nlines\tand a tab",
    "\u202eright to left",
    "рус 日本 🙂",
    " spaces ",
    "n" * 300,
)
"""Each is data wherever it stands: shown as it is (control characters by their codes), stored and found again."""


def names() -> SearchStrategy[str]:
    """Draw a hostile name, a mixture of their pieces, or any text that a command line can hold."""
    pieces = st.lists(st.sampled_from([*"[]/$'\"`\\<>&|*_{}%?#:@ .-=", "a", "b"]), min_size=1, max_size=8).map("".join)
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
    return st.one_of(st.sampled_from(NAMES), pieces, texts)
