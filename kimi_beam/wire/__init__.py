"""The service's wire: what is sent and what comes back, as pure functions over bytes."""
