// forward.mjs - a program of namespace.mjs: passes connections on. Each line of its input is {listen, connect} as Node's net takes
// them, answered by {port}; it ends when its input ends.

import net from 'node:net';
import { createInterface } from 'node:readline';

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { listen, connect } = JSON.parse(line);
    const server = net.createServer({ allowHalfOpen: true }, (from) => {
      const to = net.connect({ ...connect, allowHalfOpen: true });
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      to.on('error', () => from.destroy()).on('close', () => from.destroy());
      from.pipe(to).pipe(from);
    });
    server.listen(listen, () => console.log(JSON.stringify({ port: server.address().port ?? null })));
  })
  .on('close', () => process.exit(0));
