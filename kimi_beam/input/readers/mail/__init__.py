"""Mails, as files of their own and as Outlook saves them."""
