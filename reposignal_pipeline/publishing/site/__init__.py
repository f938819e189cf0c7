"""The site: static pages of the published tables that open from a folder, without a network or scripts.

`contents` queries the release, `charts` draws, `pages` renders, `serving` serves the site on the loopback interface,
and `strangers` cleans text by others. The article comes from `publishing.article`; `publishing.release` swaps releases.
"""
