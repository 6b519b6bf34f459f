"""The store on SQLAlchemy, for both databases."""
