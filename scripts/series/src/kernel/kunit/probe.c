// SPDX-License-Identifier: GPL-2.0
/*
 * The first and only process of a kernel that has run its KUnit suites. It reads the results of the
 * kernel's checkers, writes them to the kernel's log, and stops the machine.
 *
 * Every line starts with "series-probe: ", and the last one is "end". Built with nolibc.
 */

#define TAG "series-probe: "

/* The first scan computes checksums, the second one reports leaks. The third is a reserve. */
#define SCANS 3

/* kmemleak ignores objects that are younger than five seconds. */
#define MIN_AGE 6

static int kmsg;

static void say(const char *what, const char *text)
{
	char line[512];

	/* One write is one line of the log. */
	snprintf(line, sizeof(line), "<6>" TAG "%s%s", what, text);
	write(kmsg, line, strlen(line));
}

static void say_error(const char *doing, const char *path)
{
	char line[256];

	snprintf(line, sizeof(line), "cannot %s %s: errno %d", doing, path, errno);
	say("error: ", line);
}

/* Copies a file into the log, line by line. */
static void copy(const char *tag, const char *path)
{
	char line[400];
	size_t used = 0;
	char c;
	int fd = open(path, O_RDONLY);
	ssize_t n = -1;

	if (fd < 0) {
		say_error("open", path);
		return;
	}
	while ((n = read(fd, &c, 1)) == 1) {
		if (c != '\n' && used < sizeof(line) - 1) {
			line[used++] = c;
			continue;
		}
		line[used] = '\0';
		say(tag, line);
		used = 0;
		if (c != '\n')
			line[used++] = c;
	}
	if (used > 0) {
		line[used] = '\0';
		say(tag, line);
	}
	if (n < 0)
		say_error("read", path);
	close(fd);
}

static void scan_for_leaks(void)
{
	static const char path[] = "/debug/kmemleak";
	int scans;

	sleep(MIN_AGE);
	for (scans = 0; scans < SCANS; scans++) {
		int fd = open(path, O_WRONLY);

		if (fd < 0) {
			say_error("open", path);
			return;
		}
		/* This write fails if kmemleak has turned itself off. */
		if (write(fd, "scan", 4) != 4) {
			say_error("scan by", path);
			close(fd);
			return;
		}
		close(fd);
		say("kmemleak: ", "scanned");
	}
	copy("kmemleak| ", path);
}

int main(int argc, char **argv)
{
	int i;
	int end = LINUX_REBOOT_CMD_RESTART;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/debug", 0755);
	mknod("/dev/kmsg", S_IFCHR | 0600, makedev(1, 11));
	kmsg = open("/dev/kmsg", O_WRONLY);
	say("", "start");
	if (mount("proc", "/proc", "proc", 0, NULL))
		say_error("mount", "/proc");

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "kmemleak")) {
			if (mount("debugfs", "/debug", "debugfs", 0, NULL))
				say_error("mount", "/debug");
			scan_for_leaks();
		} else if (!strcmp(argv[i], "lockdep")) {
			copy("lockdep| ", "/proc/lockdep_stats");
		} else if (!strcmp(argv[i], "halt")) {
			end = LINUX_REBOOT_CMD_HALT;
		}
	}

	say("", "end");
	reboot(end);
	/* If the reboot fails, the kernel panics, which stops the machine as well. */
	return 1;
}
