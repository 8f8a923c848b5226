"""Open every page of the built site in Chromium and report everything that is wrong with it.

Reported are requests that leave the site, console errors and warnings, links and anchors that lead
nowhere, formulas MathJax could not set, images without a text for those who cannot see them, ids
that occur twice, and pages wider than a phone. Each page is opened from the file system and
through a local web server.
"""

import argparse
import functools
import os
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from playwright.sync_api import sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
NOT_PAGES = {"search.html"}  # written by the theme
READY = "() => !window.MathJax || (window.MathJax.startup && window.MathJax.startup.promise)"
FACTS = """() => ({
  width: document.documentElement.scrollWidth,
  ids: [...document.querySelectorAll('[id]')].filter(e => !e.closest('svg, mjx-container'))
       .map(e => e.id),
  links: [...document.querySelectorAll('a[href]')].map(a => a.href),
  errors: [...document.querySelectorAll('mjx-merror')].map(e =>
       e.getAttribute('data-mjx-error') || e.textContent),
  unset: [...document.querySelectorAll('.math')].filter(e =>
       !e.querySelector('mjx-container') && !e.closest('mjx-container')).map(e => e.textContent),
  unnamed: [...document.querySelectorAll('main img, article img')].filter(i =>
       !(i.alt || '').trim() || i.alt.startsWith('_images/') || i.alt.startsWith('../_images/'))
       .map(i => i.getAttribute('src')),
})"""
WIDEST = """() => [...document.querySelectorAll('main *')].filter(e =>
  e.getBoundingClientRect().right > innerWidth + 1).filter(e => {
    for (let box = e.parentElement; box.tagName !== 'MAIN'; box = box.parentElement)
      if (getComputedStyle(box).overflowX !== 'visible') return false;
    return true;
  }).slice(-2).map(e => `${e.tagName.toLowerCase()}.${e.className} "${e.textContent.slice(0, 40)}"`)
"""


class Quiet(SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, *args):
        pass


def chromium():
    """Return the browser's path, or end with the name of the package that holds it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    for name in (os.environ["CHROMIUM"],) if "CHROMIUM" in os.environ else names:
        if path := shutil.which(name):
            return path
    sys.exit("no Chromium found: install Debian's package chromium, or set CHROMIUM to a path")


def launch(playwright):
    """Start the browser; its sandbox does not work for the superuser."""
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=chromium(), args=flags)


def serve(folder):
    """Serve ``folder`` on a free local port and return the address."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def local(address, base):
    """Return an address as a path within the site, or None if it lies outside."""
    path = urlsplit(address).path.removeprefix(urlsplit(base).path).lstrip("/")
    return unquote(path) or "index.html" if address.startswith(base) else None


def visit(page, base, name):
    """Open one page and return its problems and what is on it."""
    problems = []

    def on_request(request):
        if not request.url.startswith((base, "data:", "blob:")):
            problems.append(f"asks for {request.url}")

    def on_console(message):
        if message.type in ("error", "warning"):
            problems.append(f"console {message.type}: {message.text}")

    def on_error(error):
        problems.append(f"script error: {error}")

    def on_response(response):
        if response.status >= 400:
            problems.append(f"status {response.status}: {response.url}")

    listeners = {"request": on_request, "console": on_console}
    listeners |= {"pageerror": on_error, "response": on_response}
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(f"{base}/{name}", wait_until="load")
    page.wait_for_function(READY)
    page.evaluate("() => window.MathJax && window.MathJax.startup.promise")
    facts = page.evaluate(FACTS)
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    return problems, facts


def page_problems(facts):
    """Return what is wrong with one page by itself."""
    repeated = sorted({name for name in facts["ids"] if facts["ids"].count(name) > 1})
    yield from (f"id used more than once: {name}" for name in repeated)
    yield from (f"formula: {text}" for text in facts["errors"])
    yield from (f"formula left as source: {text}" for text in facts["unset"])
    yield from (f"image without alt text: {source}" for source in facts["unnamed"])


def link_problems(site, base, ids, links):
    """Return the links that lead to no file or no anchor of the site."""
    for link in dict.fromkeys(links):
        target, anchor = urldefrag(link)
        name = local(target, base)
        if name is None:
            continue
        if not (site / name).is_file():
            yield f"link to a missing file: {name}"
        elif anchor and name in ids and unquote(anchor) not in ids[name]:
            yield f"link to a missing anchor: {name}#{anchor}"


def check(site, base, context, phone):
    """Return the problems of the site as seen at ``base``, each with its page."""
    names = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    names = [name for name in names if not name.startswith("_static/")]
    problems, facts = [], {}
    page = context.new_page()
    page.set_viewport_size(PHONE if phone else DESKTOP)
    for name in names:
        found, facts[name] = visit(page, base, name)
        if name not in NOT_PAGES:
            found += page_problems(facts[name])
        if phone and facts[name]["width"] > PHONE["width"]:
            wide = ", ".join(page.evaluate(WIDEST))
            found.append(f"{facts[name]['width']} px wide on a phone: {wide}")
        problems += [(name, problem) for problem in found]
    ids = {name: set(seen["ids"]) for name, seen in facts.items()}
    for name in names:
        problems += [(name, p) for p in link_problems(site, base, ids, facts[name]["links"])]
    page.close()
    return names, problems


def take_screenshots(site, browser, folder):
    """Save each page at desk and phone width, light and dark."""
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page = context.new_page()
            page.set_viewport_size(size)
            for path in sorted(site.rglob("*.html")):
                name = path.relative_to(site)
                if name.parts[0] == "_static" or name.name in NOT_PAGES:
                    continue
                visit(page, site.as_uri(), name)
                target = folder / f"{'-'.join(name.with_suffix('').parts)}-{device}-{scheme}.png"
                page.screenshot(path=target, full_page=True)
            page.close()
        context.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    options = parser.parse_args()
    site = options.site.resolve()
    chromium()
    problems = {}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for base, phone in ((site.as_uri(), False), (serve(site), True)):
            context = browser.new_context()
            names, found = check(site, base, context, phone)
            problems |= dict.fromkeys(found)
            context.close()
        if options.screenshots:
            options.screenshots.mkdir(parents=True, exist_ok=True)
            take_screenshots(site, browser, options.screenshots)
        browser.close()
    for name, problem in sorted(problems):
        print(f"{name}: {problem}")
    print(f"{len(names)} pages, {len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
