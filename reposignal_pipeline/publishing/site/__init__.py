"""The site: what the tables say, as pages that open from a folder, without a network and without a script.

`contents` reads the release, `charts` draws, `pages` lays out, `serving` shows it on the loopback; `strangers` makes
text by others harmless. Not here: what the article says (`publishing.article`), the swap of releases
(`publishing.release`).
"""
