"""Where the model is, what is known of it, and how patiently it is asked."""
