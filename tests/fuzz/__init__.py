"""The API under attack: generated requests, hostile ones, and every route tried by everybody who must not."""
