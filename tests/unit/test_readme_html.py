"""README HTML that reaches a client can do nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo_service.readme_html import sanitise


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>text</p><script>alert(1)</script>", "<p>text</p>"),
        ('<p onclick="alert(1)" class="x" id="y">text</p>', "<p>text</p>"),
        ('<a href="javascript:alert(1)">x</a>', '<a rel="noopener noreferrer">x</a>'),
        ('<a href="docs/x.md">x</a>', '<a href="docs/x.md" rel="noopener noreferrer">x</a>'),
        ('<img src="a.png" onerror="alert(1)" alt="a">', '<img src="a.png" alt="a">'),
        ('<img src="data:image/svg+xml,x">', "<img>"),
        ("<style>p{}</style><iframe src=x></iframe><object data=x></object>", ""),
        ('<form action="https://x"><button>b</button></form>', "b"),
        ('<input type="text" name="password">', '<input type="checkbox">'),
        ('<td colspan="2">x', "x"),
        ("<details open><summary>s</summary>t</details>", '<details open=""><summary>s</summary>t</details>'),
    ],
)
def test_only_structure_links_and_images_are_kept(html: str, expected: str) -> None:
    assert sanitise(html) == expected


@given(st.text(alphabet="<>\"'/= aijmgsrcptonlvfe:x&#;\0", max_size=80))
def test_nothing_active_comes_out_of_anything(soup: str) -> None:
    clean = sanitise(soup)
    assert not re.search(
        r"<\s*(script|iframe|object|form|style|svg)|<[^>]*\son\w+\s*=|<[^>]*javascript:", clean, re.IGNORECASE
    )
    assert sanitise(clean) == clean
