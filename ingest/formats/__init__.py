"""How archives are written down: lists, tables, tars, subtitles, sidecar files."""
