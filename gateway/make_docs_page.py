"""Take the viewer of the API's description from the npm package `swagger-ui-dist` (Apache-2.0), packed as it is served.

Run by hand when Swagger UI has a new version, then run tests/end_to_end/test_docs_page.py and commit what has changed:

    npm pack swagger-ui-dist@5.35.0
    python gateway/make_docs_page.py swagger-ui-dist-5.35.0.tgz

Source: https://github.com/swagger-api/swagger-ui. The page around it, index.html and start.js, is our own.
"""

import gzip
import sys
import tarfile
from pathlib import Path

FOLDER = Path(__file__).parent / "src" / "gateway" / "docs_page"
SERVED = ("swagger-ui-bundle.js", "swagger-ui.css")
LICENCES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


def main(archive: str) -> None:
    """Read the packed npm package and write the files beside the page that uses them."""
    with tarfile.open(archive) as package:

        def content(path: str) -> bytes:
            file = package.extractfile(f"package/{path}")
            if file is None:
                raise SystemExit(f"{path} is not in {archive}")
            return file.read()

        for name in SERVED:
            packed = gzip.compress(content(name), 9, mtime=0)  # the same bytes from the same package
            (FOLDER / f"{name}.gz").write_bytes(packed)
            sys.stdout.write(f"{name}.gz: {len(packed)} bytes\n")
        (FOLDER / "swagger-ui.LICENSE.txt").write_bytes(b"\n\n".join(map(content, LICENCES)))


if __name__ == "__main__":
    main(sys.argv[1])
