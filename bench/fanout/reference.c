// SPDX-License-Identifier: Apache-2.0
/*
 * What the fan-out of a release costs in C: an epoll server that does nothing but the writes, and the client harness for both servers.
 *
 *   reference server PORT PERIOD_US ROUNDS [CERT KEY]   prints {"port"}; after "start" on stdin, ROUNDS releases, then one JSON line
 *   reference client PORT COUNT PATH HELLO SECONDS [tls]  prints {"joined"}; after "start" on stdin, SECONDS of measurement, then one JSON line
 *   reference sleep PERIOD_US ROUNDS                      lateness of clock_nanosleep at absolute instants
 *
 * One thread each. The server is a reference, not a product: it checks nothing that a client says. Build: cc -O2 reference.c -o reference
 * [-DWITH_TLS -lssl -lcrypto].
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

enum { CONNECTING, SHAKING, ASKING, OPEN, CLOSED };
#define MAX_ROUNDS 8192
#define AT_ONCE 64

typedef struct {
  int fd, state;
#ifdef WITH_TLS
  SSL *ssl;
#endif
  int matched;            /* of the \r\n\r\n that ends a header */
  uint8_t head[10];
  int have;               /* bytes of a frame's header */
  uint64_t left;          /* bytes of a frame's payload */
  int release, got;
  uint8_t body[48];
} conn;

static conn *conns;
static int total, tls, poller, opened;
#ifdef WITH_TLS
static SSL_CTX *context;
#endif

static void die(const char *what) { perror(what); exit(1); }
static int64_t now_us(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000; }
static double cpu_us(void) { struct rusage u; getrusage(RUSAGE_SELF, &u); return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_usec; }
static int compare(const void *a, const void *b) { int64_t x = *(const int64_t *)a, y = *(const int64_t *)b; return x < y ? -1 : x > y; }
static void quantiles(const char *name, int64_t *values, int count, const char *end) {
  qsort(values, count, sizeof *values, compare);
  if (count == 0) printf("\"%s\":null%s", name, end);
  else printf("\"%s\":{\"p50\":%ld,\"p95\":%ld,\"p99\":%ld,\"max\":%ld}%s", name, (long)values[count / 2], (long)values[(int)(count * 0.95)], (long)values[(int)(count * 0.99)], (long)values[count - 1], end);
}
static void quick(int fd) { int one = 1; setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); fcntl(fd, F_SETFL, O_NONBLOCK); }

static ssize_t get(conn *c, uint8_t *into, size_t most) {
#ifdef WITH_TLS
  if (c->ssl) { int n = SSL_read(c->ssl, into, most); if (n > 0) return n; int e = SSL_get_error(c->ssl, n); if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) { errno = EAGAIN; return -1; } return 0; }
#endif
  return read(c->fd, into, most);
}
static ssize_t put(conn *c, const uint8_t *from, size_t count) {
#ifdef WITH_TLS
  if (c->ssl) return SSL_write(c->ssl, from, count);
#endif
  return write(c->fd, from, count);
}
static int shake(conn *c, int server) {
#ifdef WITH_TLS
  if (!c->ssl) return 1;
  int n = server ? SSL_accept(c->ssl) : SSL_connect(c->ssl);
  if (n == 1) return 1;
  int e = SSL_get_error(c->ssl, n);
  if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return 0;
  return -1;
#else
  (void)c; (void)server;
  return 1;
#endif
}
static void secure(conn *c) {
#ifdef WITH_TLS
  if (tls) { c->ssl = SSL_new(context); SSL_set_fd(c->ssl, c->fd); }
#else
  (void)c;
#endif
}
static void watch(int fd, uint32_t events, uint64_t tag, int op) { struct epoll_event e = { .events = events, .data.u64 = tag }; if (epoll_ctl(poller, op, fd, &e)) die("epoll_ctl"); }
static int header_over(conn *c, const uint8_t *bytes, ssize_t count) {
  for (ssize_t i = 0; i < count; i++) {
    c->matched = bytes[i] == "\r\n\r\n"[c->matched] ? c->matched + 1 : bytes[i] == '\r' ? 1 : 0;
    if (c->matched == 4) return (int)i + 1;
  }
  return 0;
}

/* ---- server ---- */
static void put_u64(uint8_t *at, uint64_t value) { for (int i = 7; i >= 0; i--) { at[i] = value & 255; value >>= 8; } }
static void put_u32(uint8_t *at, uint32_t value) { for (int i = 3; i >= 0; i--) { at[i] = value & 255; value >>= 8; } }
static void until(int64_t at) { struct timespec t = { at / 1000000, (at % 1000000) * 1000 }; while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) == EINTR); }

static int serve(int port, int64_t period, int rounds) {
  static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) die("listen");
  getsockname(listener, (struct sockaddr *)&address, &size);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  poller = epoll_create1(0);
  conns = calloc(32768, sizeof *conns);
  watch(listener, EPOLLIN, UINT32_MAX, EPOLL_CTL_ADD);
  watch(0, EPOLLIN, UINT32_MAX - 1, EPOLL_CTL_ADD);
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  int measuring = 0, done = 0;
  double cpu = 0;
  static int64_t lateness[MAX_ROUNDS], loops[MAX_ROUNDS];
  int64_t next = (now_us(CLOCK_REALTIME) / period + 1) * period;
  struct epoll_event events[512];
  uint8_t bytes[4096];
  for (;;) {
    int64_t rest = next - now_us(CLOCK_REALTIME);
    int count = rest > 2000 ? epoll_wait(poller, events, 512, (int)(rest / 1000) - 1) : 0;
    for (int i = 0; i < count; i++) {
      uint64_t tag = events[i].data.u64;
      if (tag == UINT32_MAX - 1) { if (read(0, bytes, sizeof bytes) <= 0) return 0; measuring = 1; done = 0; cpu = cpu_us(); continue; }
      if (tag == UINT32_MAX) {
        for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) { conn *c = &conns[total]; c->fd = fd; quick(fd); secure(c); c->state = SHAKING; watch(fd, EPOLLIN, total++, EPOLL_CTL_ADD); }
        continue;
      }
      conn *c = &conns[tag];
      if (c->state == SHAKING) { int ok = shake(c, 1); if (ok < 0) { close(c->fd); c->state = CLOSED; } if (ok <= 0) continue; c->state = ASKING; }
      for (ssize_t n; (n = get(c, bytes, sizeof bytes)) != -1;) {
        if (n == 0) { if (c->state == OPEN) opened--; close(c->fd); c->state = CLOSED; break; }
        if (c->state == ASKING && header_over(c, bytes, n)) { put(c, (const uint8_t *)answer, sizeof answer - 1); c->state = OPEN; opened++; }
      }
    }
    if (next - now_us(CLOCK_REALTIME) > 2000) continue;
    until(next);
    int64_t first = now_us(CLOCK_REALTIME);
    uint8_t frame[50] = { 0x82, 48, 1 };
    put_u64(frame + 10, next / period); put_u64(frame + 18, next); put_u32(frame + 26, first - next);
    for (int i = 0; i < total; i++) if (conns[i].state == OPEN) put(&conns[i], frame, sizeof frame);
    if (measuring) {
      lateness[done] = first - next;
      loops[done++] = now_us(CLOCK_REALTIME) - first;
      if (done == rounds || done == MAX_ROUNDS) {
        printf("{\"connections\":%d,\"rounds\":%d,\"cpuMicros\":%.0f,", opened, done, cpu_us() - cpu);
        quantiles("lateness", lateness, done, ","); quantiles("loop", loops, done, "}\n");
        fflush(stdout);
        measuring = 0;
      }
    }
    for (next += period; next < now_us(CLOCK_REALTIME); next += period);
  }
}

/* ---- client ---- */
static struct { int64_t first, last, sent; int count; } seen[MAX_ROUNDS];
static uint64_t base;
static uint64_t read_u(const uint8_t *at, int bytes) { uint64_t value = 0; while (bytes--) value = value << 8 | *at++; return value; }

static void arrived(const uint8_t *body) {
  int64_t at = now_us(CLOCK_REALTIME);
  if (body[0] != 1 || body[1] != 0) return;
  uint64_t period = read_u(body + 8, 8);
  if (!base) base = period;
  uint64_t round = period - base;
  if (round >= MAX_ROUNDS) return;
  if (!seen[round].count) { seen[round].first = at; seen[round].sent = read_u(body + 16, 8) + read_u(body + 24, 4); }
  seen[round].last = at;
  seen[round].count++;
}
static void frames(conn *c, const uint8_t *bytes, ssize_t count) {
  for (ssize_t i = 0; i < count;) {
    if (!c->left) {
      c->head[c->have++] = bytes[i++];
      int need = c->have < 2 ? 2 : c->head[1] == 126 ? 4 : c->head[1] == 127 ? 10 : 2;
      if (c->have < need) continue;
      c->left = need == 2 ? c->head[1] : read_u(c->head + 2, need - 2);
      c->release = c->head[0] == 0x82 && c->left == 48;
      c->have = c->got = 0;
      continue;
    }
    uint64_t take = (uint64_t)(count - i) < c->left ? (uint64_t)(count - i) : c->left;
    if (c->release) { memcpy(c->body + c->got, bytes + i, take); c->got += take; }
    i += take;
    c->left -= take;
    if (!c->left && c->release) arrived(c->body);
  }
}

static int attend(int port, int wanted, const char *path, const char *hello, double seconds) {
  poller = epoll_create1(0);
  conns = calloc(wanted, sizeof *conns);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  char ask[2048];
  int asked = snprintf(ask, sizeof ask, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sealcast.release.v1\r\n\r\n", path);
  uint8_t greeting[4096] = { 0x81, 0x80 | 126 };
  size_t length = strlen(hello);
  greeting[2] = length >> 8; greeting[3] = length & 255;
  memcpy(greeting + 8, hello, length);          /* a masking key of zeros leaves the text as it is */
  watch(0, EPOLLIN, UINT32_MAX, EPOLL_CTL_ADD);
  int shaking = 0, told = 0, closed = 0;
  double cpu = 0;
  int64_t end = INT64_MAX, spoken = now_us(CLOCK_MONOTONIC);
  struct epoll_event events[512];
  uint8_t bytes[65536];
  while (now_us(CLOCK_MONOTONIC) < end) {
    while (total < wanted && shaking < AT_ONCE) {
      conn *c = &conns[total];
      c->fd = socket(AF_INET, SOCK_STREAM, 0);
      if (c->fd < 0) die("socket");
      quick(c->fd);
      if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
      watch(c->fd, EPOLLIN | EPOLLOUT, total++, EPOLL_CTL_ADD);
      shaking++;
    }
    int count = epoll_wait(poller, events, 512, 50);
    for (int i = 0; i < count; i++) {
      uint64_t tag = events[i].data.u64;
      if (tag == UINT32_MAX) { if (read(0, bytes, sizeof bytes) <= 0) return 0; base = 0; memset(seen, 0, sizeof seen); cpu = cpu_us(); end = now_us(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e6); continue; }
      conn *c = &conns[tag];
      if (c->state == CONNECTING) { secure(c); c->state = SHAKING; }
      if (c->state == SHAKING) {
        int ok = shake(c, 0);
        if (ok < 0) { fprintf(stderr, "tls handshake failed\n"); exit(1); }
        if (ok == 0) continue;
        put(c, (const uint8_t *)ask, asked);
        c->state = ASKING;
        watch(c->fd, EPOLLIN, tag, EPOLL_CTL_MOD);
      }
      for (ssize_t n; c->state < CLOSED && (n = get(c, bytes, sizeof bytes)) != -1;) {
        if (n == 0) { if (c->state == OPEN) opened--; closed++; close(c->fd); c->state = CLOSED; break; }
        int from = 0;
        if (c->state == ASKING) {
          from = header_over(c, bytes, n);
          if (!from) continue;
          put(c, greeting, length + 8);
          c->state = OPEN;
          opened++; shaking--;
        }
        frames(c, bytes + from, n - from);
      }
    }
    /* Servers let go of clients that say nothing for a minute: a clock request now and then, and one before the measurement. */
    if (now_us(CLOCK_MONOTONIC) - spoken > 20000000 || (opened == wanted && !told)) {
      static const uint8_t request[22] = { 0x82, 0x90, 0, 0, 0, 0, 0x10 };
      spoken = now_us(CLOCK_MONOTONIC);
      for (int i = 0; i < total; i++) if (conns[i].state == OPEN) put(&conns[i], request, sizeof request);
    }
    if (opened == wanted && !told) { told = 1; printf("{\"joined\":%d}\n", opened); fflush(stdout); }
  }
  static int64_t spread[MAX_ROUNDS];
  int rounds = 0, missing = 0;
  for (int i = 1; i < MAX_ROUNDS && seen[i + 1].count; i++) { if (seen[i].count < opened) { missing++; continue; } spread[rounds++] = seen[i].last - seen[i].sent; }
  printf("{\"connections\":%d,\"closed\":%d,\"incomplete\":%d,\"cpuMicros\":%.0f,\"rounds\":%d,", opened, closed, missing, cpu_us() - cpu, rounds);
  quantiles("spread", spread, rounds, "}\n");
  return 0;
}

static int doze(int64_t period, int rounds) {
  static int64_t late[MAX_ROUNDS];
  int64_t next = now_us(CLOCK_REALTIME) + period;
  for (int i = 0; i < rounds && i < MAX_ROUNDS; i++, next += period) { until(next); late[i] = now_us(CLOCK_REALTIME) - next; }
  printf("{");
  quantiles("lateness", late, rounds, "}\n");
  return 0;
}

int main(int argc, char **argv) {
  if (argc >= 4 && !strcmp(argv[1], "sleep")) return doze(atoll(argv[2]), atoi(argv[3]));
  tls = argc > (!strcmp(argv[1], "server") ? 6 : 7);
#ifdef WITH_TLS
  if (tls && !strcmp(argv[1], "server")) {
    context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, argv[5]) != 1 || SSL_CTX_use_PrivateKey_file(context, argv[6], SSL_FILETYPE_PEM) != 1) die("certificate");
  } else if (tls) context = SSL_CTX_new(TLS_client_method());
#else
  if (tls) { fprintf(stderr, "built without TLS\n"); return 1; }
#endif
  if (!strcmp(argv[1], "server")) return serve(atoi(argv[2]), atoll(argv[3]), atoi(argv[4]));
  return attend(atoi(argv[2]), atoi(argv[3]), argv[4], argv[5], atof(argv[6]));
}
