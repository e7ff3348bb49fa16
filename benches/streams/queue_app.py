"""The usual Flask way to event streams: a bounded queue and a thread for each client."""

import queue
import threading

from flask import Flask, Response, request

app = Flask(__name__)
clients = set()
lock = threading.Lock()


@app.route("/stream")
def stream():
    mine = queue.Queue(maxsize=100)
    with lock:
        clients.add(mine)

    def messages():
        try:
            yield "retry: 5000\n\n"
            while True:
                try:
                    yield "data: %s\n\n" % mine.get(timeout=15)
                except queue.Empty:
                    yield ": heartbeat\n\n"
        finally:
            with lock:
                clients.discard(mine)

    return Response(messages(), mimetype="text/event-stream")


@app.route("/publish", methods=["POST"])
def publish():
    for text in request.get_data(as_text=True).split("\n"):
        with lock:
            for client in list(clients):
                try:
                    client.put_nowait(text)
                except queue.Full:
                    clients.discard(client)
    return "", 202
