"""The house inspects itself before it opens: system checks with ids."""
