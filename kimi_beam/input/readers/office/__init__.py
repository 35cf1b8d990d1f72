"""Office files, of Microsoft's formats and OpenDocument."""
