"""Files and dead letters into documents."""
