/* page.h - the web page, out of the program itself: what the browser gets at / and at every path of the page.
 *
 * The build packs the page's files, compressed ahead, into one file (web/pack.mjs) that is embedded here:
 *
 *   "catalyst-page 1\n", then lines of fields separated by tabs, an empty line, then the bytes that the lines point into:
 *   html   OFFSET LENGTH                                     index.html with @BASE@ and @NONCE@ in it
 *   route  PATH                                              a path of the page; ":x" is one segment, a last ":rest" any rest
 *   asset  NAME TYPE HASH OFFSET LENGTH GZ_OFFSET GZ_LENGTH BR_OFFSET BR_LENGTH     a length of 0: not in this coding
 *
 * An asset's name holds its hash, so it may be kept for ever; the HTML never is. Each HTML answer has a nonce of its own for the styles that the
 * page's widgets add at run time; scripts come from files of this server only.
 * Programs that ask for / without accepting text/html get one line of text instead, and so does everybody from a program built without the page.
 * Threads: immutable after page_new, shared by all loops.
 * Sources: RFC 9110 12.5.3 (Accept-Encoding), 13.1.2 (If-None-Match); CSP Level 3; Trusted Types.
 */
#ifndef CORE_PAGE_H
#define CORE_PAGE_H

#include "core/router.h"

struct page;

/* The embedded page for a server that browsers see below path_prefix ("" or "/catalyst": begins with a slash, does not end in one), which a proxy
 * takes off. ERR_CONFIG for any other prefix. */
WARN_UNUSED enum errc page_new(struct page **out, str path_prefix, err *e);
/* The same from other packed bytes, which must outlive it. ERR_INTERNAL when they are no such file. */
WARN_UNUSED enum errc page_of(struct page **out, str pack, str path_prefix, err *e);
void page_free(struct page *p);
/* Whether the program was built with the page. */
bool page_is_there(const struct page *p);

/* Mounted with a struct page *. */
extern const struct route_table page_routes;

#endif
