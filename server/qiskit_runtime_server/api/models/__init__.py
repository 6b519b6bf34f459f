"""What the API answers, typed: what its OpenAPI document, its pages and its checks are made from."""
