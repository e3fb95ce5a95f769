"""A bot for checks: says what it was told, over two queues of RabbitMQ, as a bot that someone else wrote would.

AMQP_URL, AMQP_BOT_QUEUE, AMQP_QUEUE, BOT_TOKEN   the broker, the queues, the bot's token
BOT_COPIES    how often each answer is published, with one message_id: default 1
BOT_IDS       no: answers have no message_id
"""

import json
import os
import random
import signal
import time

import pika

URL, TOKEN = os.environ["AMQP_URL"], os.environ["BOT_TOKEN"]
TO_BOTS = os.environ.get("AMQP_BOT_QUEUE", "bot-jobsity-bot")
TO_CHAT = os.environ.get("AMQP_QUEUE", "bot-jobsity-chat")
COPIES = int(os.environ.get("BOT_COPIES", 1))
IDS = os.environ.get("BOT_IDS") != "no"


def session(connection):
    channel = connection.channel()
    for queue in (TO_BOTS, TO_CHAT):
        channel.queue_declare(queue, passive=True)
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=64)
    print("listening", flush=True)
    for method, heard, body in channel.consume(TO_BOTS, inactivity_timeout=0.2):
        if stopping:
            return
        if method is None:
            continue
        command = json.loads(body)
        answer = {"chatroom": command["chatroom"], "token": TOKEN, "message": f"python heard {command['message']}"}
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, correlation_id=heard.message_id,
            message_id=f"{heard.message_id}-answer" if IDS and heard.message_id else None)
        for _ in range(COPIES):
            channel.basic_publish("", TO_CHAT, json.dumps(answer), properties, mandatory=True)
        channel.basic_ack(method.delivery_tag)


# Only noted: who leaves from within pika may lose what it had just read, and then waits for that for ever.
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
while not stopping:
    try:
        with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
            session(connection)
    except (pika.exceptions.AMQPError, OSError) as error:
        print(f"trying again, for: {error!r}", flush=True)
    time.sleep(random.uniform(0.2, 0.5))
