// exec_client SOCKET: for each exec id on a line of its input, starts that exec over a connection of its own as the docker CLI
// does, reads it to its end, and prints "SECONDS BYTES". What is measured is the engine, not the one who asks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char room[1 << 20];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char* why) {
  perror(why);
  exit(1);
}

int main(int argc, char** argv) {
  char id[128], request[512];
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (argc != 2 || strlen(argv[1]) >= sizeof to.sun_path) return 2;
  strcpy(to.sun_path, argv[1]);
  while (scanf("%127s", id) == 1) {
    const int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr*)&to, sizeof to) != 0) give_up("connect");
    const int size = snprintf(request, sizeof request,
                              "POST /exec/%s/start HTTP/1.1\r\nHost: arca\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                              "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                              id);
    const double begin = now();
    if (write(s, request, (size_t)size) != size) give_up("write");
    long bytes = 0;
    ssize_t n;
    while ((n = read(s, room, sizeof room)) > 0) bytes += n;
    if (n < 0) give_up("read");
    printf("%.6f %ld\n", now() - begin, bytes);
    fflush(stdout);
    close(s);
  }
  return 0;
}
