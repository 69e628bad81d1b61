"""READMEs: one text per repository, as it was written, and as GitHub renders it."""

import base64
import hashlib
import html
import re
from dataclasses import dataclass

from local.imitation_github.objects import Json, View
from local.imitation_github.world import Repository

LARGE_PARAGRAPHS = 2500
"""The large README has about 550 KB."""
_INLINE = (
    (re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)"), r'<img src="\2" alt="\1" style="max-width: 100%;">'),
    (re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)"), r'<a href="\2">\1</a>'),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
)
_ACTIVE = re.compile(r"<script.*?</script>|\son\w+=\S+?(?=[\s>])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Readme:
    """A README: where it lies in the repository, and its text."""

    path: str
    text: str

    @property
    def sha(self) -> str:
        """The Git object's id."""
        content = self.text.encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def readme_of(repository: Repository) -> Readme | None:
    """The preferred README, None if there is none."""
    match repository.readme:
        case "missing":
            return None
        case "readme.rst":
            return Readme("readme.rst", _restructured(repository))
        case "README":
            return Readme("README", f"{repository.name.upper()}\n\nPlain words, <no> markup.\n")
        case "large":
            return Readme("README.md", _markdown(repository) + _filling())
        case path:
            return Readme(path, _markdown(repository))


def as_json(view: View, repository: Repository, readme: Readme) -> Json:
    """The README as the contents endpoint gives it: base64 in lines of 60 characters."""
    content = readme.text.encode()
    encoded = base64.b64encode(content).decode()
    url = f"{view.base}/repos/{repository.full_name}"
    web = f"{view.base}/{repository.full_name}"
    branch = repository.default_branch
    contents = f"{url}/contents/{readme.path}?ref={branch}"
    links = {
        "self": contents,
        "git": f"{url}/git/blobs/{readme.sha}",
        "html": f"{web}/blob/{branch}/{readme.path}",
    }
    return {
        "name": readme.path.rpartition("/")[2],
        "path": readme.path,
        "sha": readme.sha,
        "size": len(content),
        "url": contents,
        "html_url": links["html"],
        "git_url": links["git"],
        "download_url": f"{web}/raw/{branch}/{readme.path}",
        "type": "file",
        "content": "".join(f"{encoded[at : at + 60]}\n" for at in range(0, len(encoded), 60)),
        "encoding": "base64",
        "_links": links,
    }


def as_html(readme: Readme) -> str:
    """The README as GitHub renders it: in its frame, without scripts and event handlers; relative addresses stay."""
    name = readme.path.rpartition("/")[2]
    if name.endswith(".md"):
        body = _rendered(readme.text)
    elif name.endswith(".rst"):
        body = _rendered(re.sub(r"^(.+)\n=+$", r"# \1", readme.text, flags=re.MULTILINE))
    else:
        return f'<div id="readme" class="plain" data-path="{readme.path}"><pre>{html.escape(readme.text)}</pre></div>'
    return (
        f'<div id="readme" class="md" data-path="{readme.path}">'
        f'<article class="markdown-body entry-content container-lg" itemprop="text">{body}</article></div>'
    )


def _markdown(repository: Repository) -> str:
    name, branch = repository.name, repository.default_branch
    return f"""<p align="center"><img src="docs/logo.svg" width="160" alt="{name}" onerror=alert(1)></p>

# {name}

{repository.description or "_No description._"}

[![build](https://img.example/build.svg)](https://ci.example/{repository.full_name}) [![licence](badge.svg)](LICENSE)

<script>alert("a README is no place for this")</script>

## Getting started

See [the manual](docs/manual.md), [the issues](../../issues), [this branch](/{repository.full_name}/tree/{branch})
or [below](#install). 中文文档见 [这里](README.zh-CN.md) 🎉

![A picture](./docs/images/screen%20shot.png)

## Install

- **Fetch** it
- `make`
- Run it & see

```{(repository.language or "sh").lower()}
print("hello, <world>")
```

<details><summary>More</summary>

Click [here](javascript:alert(1)), or rather [there](https://example.com/?a=1&b=2).

</details>
"""


def _restructured(repository: Repository) -> str:
    title = repository.name
    about = repository.description or "No description."
    more = "Install\n=======\n\n.. image:: docs/logo.png\n\nSee `docs <docs/>`_."
    return f"{title}\n{'=' * len(title)}\n\n{about}\n\n{more}\n"


def _filling() -> str:
    return "".join(
        f"\n## Chapter {number}\n\nThe quick brown fox of chapter {number} jumps over [the lazy dog](dogs/{number}.md),"
        " again and again, 一遍又一遍，until the page is as long as some pages are. 🦊\n"
        for number in range(1, LARGE_PARAGRAPHS + 1)
    )


def _rendered(text: str) -> str:
    """Enough of Markdown for the texts above."""
    parts = []
    for block in re.split(r"\n{2,}", _ACTIVE.sub("", text).strip()):
        if heading := re.match(r"(#{1,6}) (.+)", block):
            level, title = len(heading[1]), _inline(html.escape(heading[2], quote=False))
            anchor = re.sub(r"[^\w-]", "", heading[2].lower().replace(" ", "-"))
            parts.append(
                f'<div class="markdown-heading" dir="auto">'
                f'<h{level} class="heading-element" dir="auto">{title}</h{level}>'
                f'<a id="user-content-{anchor}" class="anchor" href="#{anchor}"></a></div>'
            )
        elif block.startswith("```"):
            code = block.partition("\n")[2].removesuffix("```")
            parts.append(f'<div class="highlight"><pre>{html.escape(code)}</pre></div>')
        elif block.startswith("- "):
            items = "".join(f"<li>{_inline(html.escape(line[2:], quote=False))}</li>" for line in block.splitlines())
            parts.append(f'<ul dir="auto">{items}</ul>')
        elif block.startswith("<"):
            parts.append(block)
        elif block:
            parts.append(f'<p dir="auto">{_inline(html.escape(block, quote=False))}</p>')
    return "\n".join(parts)


def _inline(escaped: str) -> str:
    for pattern, replacement in _INLINE:
        escaped = pattern.sub(replacement, escaped)
    return re.sub(r'href="javascript:[^"]*"', "", escaped)
