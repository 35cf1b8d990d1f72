"""The service: its address, token, models, prices and limits, and what to do about each of its errors."""
