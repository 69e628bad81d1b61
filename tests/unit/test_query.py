"""Query parameters are decoded strictly and refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_kit.errors import InvalidParameter, ServiceError, UnprocessableParameter
from service_kit.query import Query


def test_the_original_clients_plus_is_a_plus() -> None:
    assert Query("name=c++", plus_is_space=False).text("name") == "c++"


def test_a_forms_plus_is_a_space() -> None:
    assert Query("q=a+b").text("q") == "a b"


def test_escapes_are_decoded_once_as_utf_8() -> None:
    assert Query("q=%E4%B8%AD%2520").text("q") == "中%20"


@pytest.mark.parametrize(
    "raw", ["q=100%", "q=%zz", "q=%4", "q=%ff", "q=a%00b", "q=a%0d%0ab", "q=a&q=b", "q=" + "x" * 5001]
)
def test_malformed_text_is_refused_by_name(raw: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        Query(raw).text("q")
    assert caught.value.members["parameter"] == "q"


def test_an_empty_parameter_counts_as_absent() -> None:
    assert Query("q=").text("q") is None
    with pytest.raises(InvalidParameter):
        Query("q=%20").required("q")


@pytest.mark.parametrize(("raw", "expected"), [("", 1), ("page=1", 1), ("page=34", 34), ("page=007", 7)])
def test_pages(raw: str, expected: int) -> None:
    assert Query(raw).page(most=34) == expected


@pytest.mark.parametrize("raw", ["page=0", "page=-1", "page=x", "page=1.5", "page=²", "page=00"])
def test_what_is_no_page_is_refused(raw: str) -> None:
    with pytest.raises(InvalidParameter):
        Query(raw).page(most=34)


@pytest.mark.parametrize("raw", ["page=35", "page=" + "9" * 4000])
def test_a_page_beyond_the_last_is_refused(raw: str) -> None:
    with pytest.raises(UnprocessableParameter):
        Query(raw).page(most=34)


def test_an_unknown_choice_names_the_known_ones() -> None:
    with pytest.raises(UnprocessableParameter) as caught:
        Query("since=yearly").choice("since", ("daily", "weekly"), "daily")
    assert caught.value.members["nearest"] == ("daily", "weekly")


@given(st.text(max_size=200))
def test_any_query_is_read_or_refused(raw: str) -> None:
    query = Query(raw)
    for read in (lambda: query.text("q"), lambda: query.page(most=10), lambda: query.required("name")):
        try:
            read()
        except ServiceError as error:
            assert 400 <= error.status < 500
