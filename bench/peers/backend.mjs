// What runs behind every peer alike: a pod of three ports. PORT echoes; PORT_WEB answers HTTP requests without a body,
// with 128 bytes; PORT_BULK sends for ever whoever begins with D, and swallows what begins with U.
import { Buffer } from 'node:buffer';
import { createServer } from 'node:net';
import process from 'node:process';

const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n${'x'.repeat(128)}`,
);
const PIECE = Buffer.alloc(65_536, 'x');
const { PORT, PORT_WEB, PORT_BULK } = process.env;

listen(PORT, (socket) => socket.on('data', (bytes) => socket.write(bytes)));

listen(PORT_WEB, (socket) => {
  let kept = '';
  socket.on('data', (bytes) => {
    const heads = (kept + bytes.toString('latin1')).split('\r\n\r\n');
    kept = heads.pop() ?? '';
    for (let number = 0; number < heads.length; number++) socket.write(ANSWER);
  });
});

listen(PORT_BULK, (socket) => {
  socket.once('data', (first) => {
    if (first[0] !== 0x44) return void socket.resume();
    const send = () => {
      while (socket.writable && socket.write(PIECE));
    };
    socket.on('drain', send);
    send();
  });
});

function listen(port, onConnection) {
  createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  }).listen(Number(port), '127.0.0.1', 1_024);
}
console.log('listening');
