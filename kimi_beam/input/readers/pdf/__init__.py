"""PDFs, by PDFium: what a page holds, what of it a person sees, and its text as the eye reads it."""
