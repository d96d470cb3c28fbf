"""HTML reports: each is one file that contains its style, scripts and figures, and needs no network.

The modules take numbers and write pages. The text of a report is in its template under `templates/`.
"""
