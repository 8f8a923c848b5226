"""Print the book, built as one HTML page, to a PDF file with Chromium."""

import argparse
from pathlib import Path

from check_site import READY, launch
from playwright.sync_api import sync_playwright

FOOTER = (
    '<div style="width:100%;font-size:8px;text-align:center"><span class="pageNumber"></span></div>'
)
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(color_scheme="light", viewport={"width": 680, "height": 960})
        page.emulate_media(media="print")  # before MathJax measures: formulas keep their size
        page.goto(options.page.resolve().as_uri(), wait_until="load")
        page.wait_for_function(READY)
        page.evaluate("() => window.MathJax && window.MathJax.startup.promise")
        page.add_style_tag(content="* { animation: none !important; transition: none !important }")
        page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")
        page.pdf(
            path=options.output,
            format="A4",
            margin=MARGIN,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            outline=True,
            tagged=True,
        )
        browser.close()


if __name__ == "__main__":
    main()
