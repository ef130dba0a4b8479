"""The HTML page: no script, no link to anywhere, one file."""

from html import escape

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; margin: 0 auto; max-width: 1180px; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; } nav a { margin-right: 1rem; color: #0054a6; text-decoration: none; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .28rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #eee; }
th { border-bottom: 2px solid #bbb; white-space: nowrap; } td.number { text-align: right; white-space: nowrap;
font-variant-numeric: tabular-nums; } th.number { text-align: right; } small { color: #555; }
figure { margin: 0 0 2rem; } figure img { max-width: 100%; height: auto; } figcaption, .note { color: #444; font-size: 13px;
max-width: 62rem; } .badge { border-radius: 3px; padding: .05rem .45rem; font-size: 12px; white-space: nowrap;
border: 1px solid; } .good { background: #e3f3ec; border-color: #009e73; } .bad { background: #fbe9df; border-color: #d55e00; }
.neutral { background: #f1f1f1; border-color: #999; } details summary { cursor: pointer; }
"""
KINDS = {"supported": ("good", "✓ "), "ok": ("good", ""), "refuted": ("bad", "✗ "), "failed": ("bad", ""),
         "unproven": ("bad", ""), "unreadable": ("bad", ""), "inconclusive": ("neutral", "? ")}


def badge(word):
    """A word in a coloured frame; a sign stands beside the colour for those who do not see it."""
    kind, sign = KINDS.get(str(word), ("neutral", ""))
    return f'<span class="badge {kind}">{sign}{escape(str(word))}</span>'


def table(head, body, numeric=()):
    """`head` and the cells of `body` are HTML already; columns in `numeric` are set flush right."""
    def row(cells, tag):
        return "<tr>" + "".join(f'<{tag}{" class=number" if i in numeric else ""}>{cell}</{tag}>'
                                for i, cell in enumerate(cells)) + "</tr>"
    lines = "".join(row(cells, "td") for cells in body)
    return f'<div class="wide"><table><thead>{row(head, "th")}</thead><tbody>{lines}</tbody></table></div>'


def html(title, summary, sections):
    """`sections` are (heading, HTML) pairs."""
    names = {heading: heading.lower().replace(" ", "-") for heading, _ in sections}
    links = "".join(f'<a href="#{names[heading]}">{escape(heading)}</a>' for heading, _ in sections)
    body = "".join(f'<section id="{names[heading]}"><h2>{escape(heading)}</h2>{content}</section>'
                   for heading, content in sections)
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
            f"<body><h1>{escape(title)}</h1>{summary}<nav>{links}</nav>{body}</body></html>\n")
