"""What hides a text in any format: colours that look the same, and characters without a shape; and the texts found."""
