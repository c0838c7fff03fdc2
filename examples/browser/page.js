// A page as producer and consumer: sends what is typed and shows the topic's newest records as they come.
// ?broker=ws://HOST:PORT and ?topic=NAME choose where; README.md says how logloom.js is made.

import { connect } from './logloom.js'

const rowsMax = 50
const query = new URLSearchParams(location.search)
const url = query.get('broker') ?? 'ws://127.0.0.1:5640'
const topic = query.get('topic') ?? 'page'
const [topicName, status, form, text, sent, tail] = [
  'topic',
  'status',
  'form',
  'text',
  'sent',
  'tail',
].map(id => document.getElementById(id))

topicName.textContent = topic
const client = await connect(url)
// A page may come before its topic; whoever is first creates it.
await client.admin().createTopic(topic, { ifNotExists: true })
const producer = client.producer()

form.addEventListener('submit', event => {
  event.preventDefault()
  const value = text.value
  text.value = ''
  sent.textContent = `sending ${value}`
  producer.send(topic, { value }).then(
    ({ offset }) => {
      sent.textContent = `acked at offset ${offset}`
    },
    error => {
      sent.textContent = `${error.code}: ${error.message}`
    },
  )
})

async function showStatus() {
  for await (const { type } of client.status()) status.textContent = type
}

async function showTail() {
  for await (const record of client.read(topic, { from: { last: rowsMax } })) {
    const time = new Date(record.timestamp).toLocaleTimeString()
    const row = document.createElement('tr')
    row.append(
      ...[record.offset, time, record.value].map(content => {
        const cell = document.createElement('td')
        cell.textContent = content
        return cell
      }),
    )
    tail.prepend(row)
    tail.rows[rowsMax]?.remove()
  }
}

function showError(error) {
  status.textContent = `${error.code}: ${error.message}`
}

showStatus().catch(showError)
showTail().catch(showError)
