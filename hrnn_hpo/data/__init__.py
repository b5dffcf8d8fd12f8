"""From a log of interactions to encoded arrays, sessions and splits; knows nothing of models.

The names of a log's columns stand here, where reading them loads no NumPy: the help of a command shows some.
"""

USER_ID = "USER_ID"
ITEM_ID = "ITEM_ID"
TIMESTAMP = "TIMESTAMP"
EVENT_TYPE = "EVENT_TYPE"
EVENT_VALUE = "EVENT_VALUE"
IMPRESSION = "IMPRESSION"
SESSION_ID = "SESSION_ID"

REQUIRED_COLUMNS = (USER_ID, ITEM_ID, TIMESTAMP)
MAX_ID_LENGTH = 256  # characters, as in Amazon Personalize
