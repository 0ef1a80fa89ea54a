/** The path that the page lives below: "/" or "/catalyst/". The server writes it into the HTML. */
export const BASE = document.querySelector<HTMLMetaElement>('meta[name=catalyst-base]')?.content || '/';

/** The origin and base that clients are pointed at, without a slash at its end. */
export const SERVER_URL = `${location.origin}${BASE}`.replace(/\/$/, '');
