"""Make linguist_languages.json and its licence file from the npm package `linguist-languages` (MIT).

Run by hand when Linguist has new languages, then look at the difference and commit it:

    npm pack linguist-languages@9.5.0
    python github-client/make_linguist_languages.py linguist-languages-9.5.0.tgz

Source: https://github.com/ikatyang-collab/linguist-languages, itself made from https://github.com/github-linguist/linguist.
Each language is a module `package/data/NAME.js` of one literal, `export default { name: 'C#', …, color: '#7355dd' }`.
"""

import json
import re
import sys
import tarfile
from pathlib import Path

FOLDER = Path(__file__).parent / "src" / "github_client"
_NAME = re.compile(r"""^  name: (['"])(?P<name>.+)\1,$""", re.MULTILINE)
_COLOR = re.compile(r"^  color: '(?P<color>#[0-9A-Fa-f]{6})',$", re.MULTILINE)


def language(module: str) -> tuple[str, str | None]:
    """Name and colour (`#rrggbb`, None where Linguist has none) out of the text of one data module."""
    name, color = _NAME.search(module), _COLOR.search(module)
    if name is None or "\\" in name["name"] or (color is None and "color:" in module):
        raise SystemExit(f"unexpected form of a data module:\n{module[:500]}")
    return name["name"], color["color"] if color else None


def main(archive: str) -> None:
    """Read the packed npm package and write both files beside the code that reads them."""
    with tarfile.open(archive) as package:

        def text(path: str) -> str:
            file = package.extractfile(path)
            if file is None:
                raise SystemExit(f"{path} is not in {archive}")
            return file.read().decode()

        version = json.loads(text("package/package.json"))["version"]
        modules = [path for path in package.getnames() if re.fullmatch(r"package/data/.+\.js", path)]
        colors = dict(sorted((language(text(path)) for path in modules), key=lambda pair: pair[0].casefold()))
        licence = f"{text('package/LICENSE')}\n{text('package/ThirdPartyNoticeText.txt')}"
    content = {
        "source": f"npm package linguist-languages {version}; licence: linguist_languages.LICENSE.txt",
        "colors": colors,
    }
    target = FOLDER / "linguist_languages.json"
    target.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    (FOLDER / "linguist_languages.LICENSE.txt").write_text(licence, encoding="utf-8")
    sys.stdout.write(f"{len(colors)} languages, {sum(map(bool, colors.values()))} with a colour\n")


if __name__ == "__main__":
    main(sys.argv[1])
