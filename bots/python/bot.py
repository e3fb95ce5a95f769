"""A bot of Hubbub: answers /hello=NAME and /stock=CODE over two queues of RabbitMQ. Needs pika 1.3."""

import json
import logging
import os
import random
import signal
import time
import uuid

import pika

URL = os.environ.get("AMQP_URL") or "amqp://guest:guest@127.0.0.1:5672/%2f"
TO_BOTS = os.environ.get("AMQP_BOT_QUEUE") or os.environ.get("AMQP_BOT_QUEUE_BOT") or "bot-jobsity-bot"
TO_CHAT = os.environ.get("AMQP_QUEUE") or "bot-jobsity-chat"
TOKEN = os.environ["BOT_TOKEN"]
COMMANDS = [
    {"command": "hello", "usage": "/hello=NAME", "about": "Greets someone by name"},
    {"command": "stock", "usage": "/stock=CODE", "about": "Says what a share costs"},
]
stopping = []
PRICES = {"AAPL.US": "93.42", "MSFT.US": "241.07"}


def answer(text):
    """What to say to a command, and whether it is a complaint."""
    command, _, value = text.strip().partition("=")
    name, code = value.strip(), value.strip().upper()
    if command == "/hello":
        return (f"Hello {name}!", False) if name else ("Usage: /hello=NAME", True)
    if command == "/stock" and code:
        known = code in PRICES
        return (f"{code} quote is ${PRICES[code]} per share" if known else f"There is no quote of {code}", not known)
    return ("Usage: /stock=CODE" if command == "/stock" else "Usage: /hello=NAME or /stock=CODE", True)


def publish(channel, body, message_id, correlation_id=None):
    """Returns when the broker has it in the queue, and raises if it has not."""
    properties = pika.BasicProperties(
        message_id=message_id, correlation_id=correlation_id, content_type="application/json",
        timestamp=int(time.time()), app_id="bot.py", delivery_mode=pika.DeliveryMode.Persistent)
    channel.basic_publish("", TO_CHAT, json.dumps({"token": TOKEN, **body}), properties, mandatory=True)


def session(connection):
    channel = connection.channel()
    for queue in (TO_BOTS, TO_CHAT):
        channel.queue_declare(queue, passive=True)  # Hubbub makes them
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=32)
    announced = None
    for method, properties, body in channel.consume(TO_BOTS, inactivity_timeout=1):
        if stopping:
            return
        if announced is None or time.monotonic() - announced > 60:
            publish(channel, {"commands": COMMANDS}, str(uuid.uuid4()))
            announced = time.monotonic()
        if method is None:
            continue
        try:
            command = json.loads(body)
            room, (text, error) = command["chatroom"], answer(command["message"])
        except (ValueError, TypeError, KeyError, AttributeError):
            logging.warning("rejected %d bytes that are no command", len(body))
            channel.basic_reject(method.delivery_tag, requeue=False)
            continue
        reply = {"chatroom": room, "message": text, **({"error": True} if error else {})}
        asked = properties.message_id
        publish(channel, reply, asked and f"{asked}-answer", asked)
        channel.basic_ack(method.delivery_tag)  # not before: else a crash would lose the answer


logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
logging.getLogger("pika").setLevel(logging.CRITICAL)  # says all that is raised anyway
# Only noted, and looked at between two commands: to leave from within pika may lose what it had just read, and it would wait for that for ever.
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
while not stopping:
    try:
        with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
            session(connection)
    except (pika.exceptions.AMQPError, OSError) as error:
        logging.warning("trying again, for: %r", error)
    if not stopping:
        time.sleep(random.uniform(1, 5))
