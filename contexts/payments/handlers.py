"""What payments does when something happens elsewhere, and as time goes by."""
