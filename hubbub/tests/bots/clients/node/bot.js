// A bot for checks: says what it was told, over two queues of RabbitMQ, as a bot that someone else wrote would.
//   AMQP_URL, AMQP_BOT_QUEUE, AMQP_QUEUE, BOT_TOKEN   the broker, the queues, the bot's token
//   BOT_COPIES    how often each answer is published, with one message_id: default 1
//   BOT_IDS       no: answers have no message_id
//   BOT_DURABLE   yes: makes its queues, durable, where it otherwise finds them
'use strict';
const amqp = require('amqplib');

const { AMQP_URL, AMQP_BOT_QUEUE = 'bot-jobsity-bot', AMQP_QUEUE = 'bot-jobsity-chat', BOT_TOKEN } = process.env;
const copies = Number(process.env.BOT_COPIES || 1);
const durable = process.env.BOT_DURABLE === 'yes';
const ids = process.env.BOT_IDS !== 'no';

async function session(ended) {
  const connection = await amqp.connect(AMQP_URL);
  const closed = new Promise((_, broke) => {
    connection.on('error', broke);
    connection.on('close', () => broke(new Error('closed')));
  });
  closed.catch(() => {});
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  for (const queue of [AMQP_BOT_QUEUE, AMQP_QUEUE]) {
    await (durable ? channel.assertQueue(queue, { durable }) : channel.checkQueue(queue));
  }
  await channel.prefetch(64);

  async function answer(delivery) {
    const { chatroom, message } = JSON.parse(delivery.content);
    const asked = delivery.properties.messageId;
    const body = JSON.stringify({ chatroom, token: BOT_TOKEN, message: `node heard ${message}` });
    const options = {
      persistent: true, mandatory: true, contentType: 'application/json', correlationId: asked,
      messageId: ids && asked ? `${asked}-answer` : undefined,
    };
    for (let copy = 0; copy < copies; copy++) channel.sendToQueue(AMQP_QUEUE, Buffer.from(body), options);
    await channel.waitForConfirms();
    channel.ack(delivery);
  }

  const broken = new Promise((_, broke) => {
    const heard = (delivery) => (delivery ? answer(delivery).catch(broke) : broke(new Error('cancelled')));
    channel.consume(AMQP_BOT_QUEUE, heard).then(() => console.log('listening'), broke);
  });
  broken.catch(() => {});
  try {
    await Promise.race([closed, broken, ended]);
  } finally {
    await connection.close().catch(() => {});
  }
}

(async () => {
  let over = false;
  const ended = new Promise((resolve) => process.once('SIGTERM', resolve)).then(() => { over = true; });
  while (!over) {
    await session(ended).catch((error) => console.log(`trying again, for: ${error.message}`));
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 300))]);
  }
})();
