"""What the official clients raise, for the few who use them: `failures` tells it in our words."""

from __future__ import annotations

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

ClientError = (GoogleAPICallError, GoogleAuthError)
"""All that a call of a client may raise."""
