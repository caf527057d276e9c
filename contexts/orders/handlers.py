"""What orders does when something happens elsewhere, and as time goes by."""
