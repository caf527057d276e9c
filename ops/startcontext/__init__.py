"""Write a new context: a small complete one, from the templates in files/."""
