"""Pictures, and pages that are sent as pictures."""
