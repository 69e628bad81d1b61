"""WeChat template fields: what fits by type, and characters that are never cut."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from notifier_service.wechat.fields import check_field, fit
from notifier_service.wording.shortening import shortened

FAMILY = "👩‍👩‍👧‍👦"  # 11 UTF-16 units, one character for a reader
FLAG = "🇨🇳"
THUMB = "👍🏽"
ACCENT = "e\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}"


@pytest.mark.parametrize(
    ("field", "value", "fitted"),
    [
        ("thing1", "rust-lang/rust", "rust-lang/rust"),
        ("thing1", "a-long-owner/with-a-long-name", "a-long-owner/with-a…"),
        ("thing1", "一二三四五六七八九十一二三四五六七八九十", "一二三四五六七八九十一二三四五六七八九十"),
        ("thing1", "一二三四五六七八九十一二三四五六七八九十多", "一二三四五六七八九十一二三四五六七八九…"),
        ("thing1", "two\nlines\r\n\tand\0more", "two lines and more"),
        ("thing1", "", "-"),
        ("thing1", " \n ", "-"),
        ("thing1", "a lone \ud800 surrogate", "a lone surrogate"),
        ("number2", "1,234", "1234"),
        ("number2", "★ 12.5k", "12.5"),
        ("number2", "-7", "-7"),
        ("number2", "none", "0"),
        ("number2", "1" * 33, "0"),
        ("letter1", "rust-lang 2026 中文", "rustlang"),
        ("letter1", "a" * 40, "a" * 32),
        ("letter1", "中文", "-"),
        ("symbol1", "a+b=c!?*#", "+=!?*"),
        ("character_string3", "owner/name 中文 ", "owner/name"),
        ("character_string3", "x" * 40, "x" * 32),
        ("character_string3", "Ｆｕｌｌ", "Full"),
        ("character_string3", "中文", "-"),
        ("time4", "2026-11-23 10:07", "2026-11-23 10:07"),
        ("time4", "10:07:30", "10:07:30"),
        ("time4", "2019年10月1日 15:01", "2019年10月1日 15:01"),
        ("time4", "25:61", "-"),
        ("time4", "soon", "-"),
        ("date5", "2026-11-23 10:07", "2026-11-23 10:07"),
        ("date5", "on 2026-11-23", "2026-11-23"),
        ("date5", "2019年10月1日", "2019年10月1日"),
        ("date5", "never", "-"),
        ("amount6", "￥1,234.50元", "￥1234.50"),
        ("amount6", "12345678901", "0"),
        ("phone_number7", "+86-0766-66888866", "+86-0766-66888866"),
        ("car_number8", "粤A8Z888挂", "粤A8Z888挂"),
        ("name9", "Linus Torvalds 2", "Linus Torvalds"),
        ("name9", "王小明", "王小明"),
        ("name9", "名字里有超过十个汉字的人", "名字里有超过十个汉…"),
        ("phrase10", "趋势榜 daily", "趋势榜"),
        ("phrase10", "超过五个汉字", "超过五个汉"),
        ("phrase10", "daily", "-"),
    ],
)
def test_value_fits_its_field(field: str, value: str, fitted: str) -> None:
    assert fit(field, value) == fitted


@pytest.mark.parametrize("character", [FAMILY, FLAG, THUMB, ACCENT, "𠮷", "각"])
@pytest.mark.parametrize("before", range(21))
def test_no_character_is_cut_inside(character: str, before: int) -> None:
    fitted = fit("thing1", "x" * before + character + "y" * 20)

    rest = fitted.removesuffix("…").lstrip("x").rstrip("y")
    assert rest in {"", character}
    assert len(fitted.encode("utf-16-le")) <= 40


def test_a_single_character_that_is_too_long_leaves_the_ellipsis() -> None:
    assert fit("thing1", "e" + "\N{COMBINING ACUTE ACCENT}" * 40) == "…"


@given(st.text(max_size=60), st.integers(min_value=1, max_value=40))
def test_shortened_text_is_whole_characters_of_what_was_there(text: str, units: int) -> None:
    clusters = regex.findall(r"\X", text)
    result = shortened(text, units)

    assert len(result.encode("utf-16-le", "surrogatepass")) // 2 <= units
    if result != text:
        kept = result.removesuffix("…")
        starts = ["".join(clusters[:count]).rstrip() for count in range(len(clusters) + 1)]
        assert kept in starts


@given(
    st.sampled_from(["thing1", "number1", "letter1", "symbol1", "character_string1", "time1", "date1", "amount1"])
    | st.sampled_from(["phone_number1", "car_number1", "name1", "phrase1"]),
    st.text(max_size=80),
)
def test_any_text_gives_a_value_without_control_characters(field: str, text: str) -> None:
    fitted = fit(field, text)

    assert fitted
    assert not regex.search(r"[\p{Cc}\p{Cs}]", fitted)


@pytest.mark.parametrize("name", ["thing1", "character_string12", "phone_number3"])
def test_a_template_s_field_is_known(name: str) -> None:
    check_field(name)


@pytest.mark.parametrize("name", ["", "thing", "1", "thing1234", "enum1", "thing1.DATA", "Thing1"])
def test_what_is_no_field_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="is no field of a template"):
        check_field(name)
