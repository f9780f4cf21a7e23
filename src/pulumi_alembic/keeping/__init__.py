"""What a downgrade takes away is set aside in the schema `kept`, and put back by the next upgrade over its revision."""
