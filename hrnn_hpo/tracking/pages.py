"""MLflow's own pages, begun as model training: the application that `hrnn-hpo ui` has MLflow's server run.

MLflow 3.17 shows each new browser its views for generative AI, where an experiment opens on an empty page of usage
figures, and an assistant that opens by itself. The browser remembers its switch to "Model training"; this sets it once,
where the browser has no choice of its own yet. Registered in pyproject.toml as an application of MLflow's.
"""

import json
from typing import Any

APP_NAME = "hrnn-hpo"
CHOICES = {"mlflow.workflowType_v1": "machine_learning", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True}
_SCRIPT = f"""<script>
for (const [key, value] of Object.entries({json.dumps(CHOICES)}))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
</script>"""


def create_app() -> Any:
    """Return MLflow's application, whose first page makes our choices for a browser that has made none."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app

    # The pages ask who is logged in, and log an error where, without accounts, nobody answers.
    pages.add_url_rule("/ajax-api/2.0/mlflow/users/current", "nobody", lambda: {"user": None})
    pages.after_request(_with_choices)
    return app


def _with_choices(response: Any) -> Any:
    from flask import request

    if request.path == "/" and response.mimetype == "text/html" and response.status_code == 200:
        response.direct_passthrough = False
        response.set_data(response.get_data(as_text=True).replace("<head>", f"<head>{_SCRIPT}", 1))
        for header in ("ETag", "Last-Modified"):  # of the file on disk
            response.headers.pop(header, None)
    return response
