"""Languages are found by whatever a client calls them, and GitHub's live menu has the last word."""

import time

import pytest

from github_client.languages import Language, LanguageCatalogue, encoded_slug, language_slug


@pytest.fixture(scope="module")
def bundled() -> LanguageCatalogue:
    return LanguageCatalogue()


def menu(catalogue: LanguageCatalogue) -> tuple[Language, ...]:
    """The bundled list as a live menu would show it: without colours."""
    return tuple(Language(language.name, language.slug) for language in catalogue.all())


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Python", "python"),
        ("C#", "c%23"),
        ("C++", "c++"),
        ("F*", "f*"),
        ("B (Formal Method)", "b-(formal-method)"),
        ("Visual Basic .NET", "visual-basic-.net"),
        ("Ren'Py", "ren'py"),
        ("Jupyter Notebook", "jupyter-notebook"),
        ("Unknown languages", "unknown"),
    ],
)
def test_slug_is_github_s(name: str, slug: str) -> None:
    assert language_slug(name) == slug


def test_slug_is_encoded_exactly_once() -> None:
    assert encoded_slug("c#") == encoded_slug("c%23") == "c%23"


def test_bundled_list_is_linguist_s(bundled: LanguageCatalogue) -> None:
    assert len(bundled.all()) == 834
    assert bundled.lookup("rust") == Language("Rust", "rust", "#dea584")
    assert sum(language.color is not None for language in bundled.all()) == 692


def test_every_language_is_found_by_all_its_names(bundled: LanguageCatalogue) -> None:
    for language in bundled.all():
        name = language.name
        for text in (language.slug, language.slug.upper(), name, name.lower(), name.upper(), name.replace(" ", "-")):
            assert bundled.lookup(text) is language


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("c%23", "C#"),
        ("C%2B%2B", "C++"),
        ("c#", "C#"),
        ("jupyter notebook", "Jupyter Notebook"),
        ("jupyter%20notebook", "Jupyter Notebook"),
        ("  Jupyter   Notebook ", "Jupyter Notebook"),
        ("UNKNOWN", "Unknown languages"),
    ],
)
def test_language_is_found_encoded_or_not(bundled: LanguageCatalogue, text: str, name: str) -> None:
    found = bundled.lookup(text)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("text", ["", " ", "all", "c%2523", "%", "%zz", "100%", "../python", "python\0", "x" * 5000])
def test_what_is_no_language_is_not_found(bundled: LanguageCatalogue, text: str) -> None:
    assert bundled.lookup(text) is None


@pytest.mark.parametrize(
    ("text", "name"), [("pyhton", "Python"), ("Java Script", "JavaScript"), ("juypter notebok", "Jupyter Notebook")]
)
def test_nearest_name_comes_first(bundled: LanguageCatalogue, text: str, name: str) -> None:
    assert bundled.nearest(text)[0] == name


def test_no_more_names_are_near_than_asked_for(bundled: LanguageCatalogue) -> None:
    assert len(bundled.nearest("scrip")) == 3
    assert len(bundled.nearest("scrip", n=2)) == 2


def test_nothing_is_near_to_nonsense(bundled: LanguageCatalogue) -> None:
    assert bundled.nearest("∞" * 20) == ()
    assert bundled.nearest("") == ()


def test_nearest_takes_no_longer_for_a_very_long_text(bundled: LanguageCatalogue) -> None:
    started = time.perf_counter()
    for text in ("python" * 1000, "a" * 5000, "abcdefghij klmnop" * 300):
        bundled.nearest(text)
    assert time.perf_counter() - started < 1


def test_live_menu_overrides_names_and_slugs_and_keeps_colours(bundled: LanguageCatalogue) -> None:
    catalogue = LanguageCatalogue()
    live = (*menu(bundled)[:-1], Language("RUST", "rust"), Language("Brand New", "brand-new"))
    assert catalogue.update(live)
    assert len(catalogue.all()) == len(live)
    assert catalogue.lookup("brand new") == Language("Brand New", "brand-new")
    assert catalogue.lookup("rust") == Language("RUST", "rust", "#dea584")
    assert catalogue.lookup(menu(bundled)[-1].name) is None
    assert catalogue.nearest("brandnew")[0] == "Brand New"


def test_implausibly_small_menu_is_refused(bundled: LanguageCatalogue) -> None:
    catalogue = LanguageCatalogue()
    assert not catalogue.update(())
    assert not catalogue.update(menu(bundled)[:416])
    assert catalogue.all() == bundled.all()
    assert catalogue.update(menu(bundled)[:417])


def test_the_same_menu_again_changes_nothing(bundled: LanguageCatalogue) -> None:
    catalogue = LanguageCatalogue()
    assert catalogue.update(menu(bundled))
    before = catalogue.all()
    assert catalogue.update(menu(bundled))
    assert catalogue.all() is before


def test_original_client_is_offered_only_what_it_can_send_back(bundled: LanguageCatalogue) -> None:
    names = bundled.for_original_client()
    assert len(names) > 800
    for name in names:
        assert not set("#&%+") & set(name)
        assert not name.lower().startswith("all")
        language = bundled.lookup(name.lower())
        assert language is not None
        assert language.name == name
    assert {"C#", "C++", "F#", "HTML+ERB", "Alloy"}.isdisjoint(names)


def test_original_client_is_offered_popular_languages_first(bundled: LanguageCatalogue) -> None:
    names = bundled.for_original_client()
    popular, others = names[:12], names[12:]
    assert popular[:3] == ("JavaScript", "Python", "Java")
    assert list(others) == sorted(others, key=str.casefold)
    assert len(set(names)) == len(names)


def test_names_that_the_live_menu_has_no_more_are_not_offered(bundled: LanguageCatalogue) -> None:
    catalogue = LanguageCatalogue()
    catalogue.update(tuple(language for language in menu(bundled) if language.name != "Python"))
    assert "Python" not in catalogue.for_original_client()
    assert "Python" in bundled.for_original_client()
