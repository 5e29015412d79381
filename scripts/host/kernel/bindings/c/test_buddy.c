// SPDX-License-Identifier: GPL-2.0
/* The C side of the tests of the GPU buddy allocator: a look inside. */
#include <host/buddy.h>

/* Ends the look with the line that found a fault. */
#define MUST(condition) do {						\
	if (!(condition))						\
		return -__LINE__;					\
} while (0)

/* Not every base has these in its header. */
static bool is_allocated(const struct gpu_buddy_block *block)
{
	return (block->header & GPU_BUDDY_HEADER_STATE) == GPU_BUDDY_ALLOCATED;
}

static bool is_split(const struct gpu_buddy_block *block)
{
	return (block->header & GPU_BUDDY_HEADER_STATE) == GPU_BUDDY_SPLIT;
}

struct look {
	struct gpu_buddy *mm;
	struct host_buddy_leaf *leaves;
	unsigned long max, count, free;
	u64 avail, clear_avail;
	/* The blocks of each order. */
	u64 free_of[GPU_BUDDY_MAX_ORDER + 1], used_of[GPU_BUDDY_MAX_ORDER + 1];
};

static long look_at_leaf(struct look *look, struct gpu_buddy_block *block)
{
	u64 size = gpu_buddy_block_size(look->mm, block);
	struct host_buddy_leaf *leaf;

	MUST(look->count < look->max);
	leaf = &look->leaves[look->count++];
	leaf->offset = gpu_buddy_block_offset(block);
	leaf->order = gpu_buddy_block_order(block);
	leaf->allocated = is_allocated(block);
	leaf->clear = gpu_buddy_block_is_clear(block);
	if (leaf->allocated) {
		look->used_of[leaf->order]++;
		return 0;
	}

	look->free_of[leaf->order]++;
	look->free++;
	look->avail += size;
	if (leaf->clear)
		look->clear_avail += size;
	return 0;
}

static long look_at_block(struct look *look, struct gpu_buddy_block *block,
			  struct gpu_buddy_block *parent, u64 offset,
			  unsigned int order)
{
	struct gpu_buddy_block *left = block->left, *right = block->right;
	long ret;

	MUST(block->parent == parent);
	MUST(gpu_buddy_block_offset(block) == offset);
	MUST(gpu_buddy_block_order(block) == order);
	MUST(!(block->header & GPU_BUDDY_HEADER_UNUSED));
	if (!is_split(block)) {
		MUST(gpu_buddy_block_is_free(block) || is_allocated(block));
		return look_at_leaf(look, block);
	}

	/* Else it would be clear once its halves are free, whatever they hold. */
	MUST(!gpu_buddy_block_is_clear(block));
	MUST(order && left && right);
	/* Free halves of one kind are merged. */
	MUST(!gpu_buddy_block_is_free(left) || !gpu_buddy_block_is_free(right) ||
	     gpu_buddy_block_is_clear(left) != gpu_buddy_block_is_clear(right));
	ret = look_at_block(look, left, block, offset, order - 1);
	if (ret)
		return ret;
	return look_at_block(look, right, block,
			     offset + (look->mm->chunk_size << (order - 1)), order - 1);
}

#ifdef HOST_BUDDY_AUGMENTED

static unsigned int subtree_alignment(struct rb_node *node)
{
	return node ? rb_entry(node, struct gpu_buddy_block, rb)->subtree_max_alignment : 0;
}

/* Checks the alignments that a free tree stores for the blocks below a node. */
static long look_at_alignment(struct rb_node *node)
{
	u64 offset = gpu_buddy_block_offset(rb_entry(node, struct gpu_buddy_block, rb));
	/* The start of the memory is more aligned than any other offset. */
	unsigned int alignment = offset ? (unsigned int)__builtin_ctzll(offset) : 64 + 1;

	alignment = max(alignment, subtree_alignment(node->rb_left));
	alignment = max(alignment, subtree_alignment(node->rb_right));
	MUST(subtree_alignment(node) == alignment);
	return 0;
}

/* Looks at the counters of blocks. */
static long look_at_scoreboards(struct look *look)
{
	unsigned int i;

	for (i = 0; i <= look->mm->max_order; i++) {
		MUST(look->mm->free_scoreboard[i] == look->free_of[i]);
		MUST(look->mm->used_scoreboard[i] == look->used_of[i]);
	}
	return 0;
}

/* Looks up the first and the last byte of some leaves, each time others, and bytes beyond all. */
static long look_up_addresses(struct look *look)
{
	unsigned long i, last, step = look->count / 8 + 1;
	struct gpu_buddy_block *block;

	for (i = look->free % step; i < look->count; i += step) {
		struct host_buddy_leaf *leaf = &look->leaves[i];
		u64 size = look->mm->chunk_size << leaf->order;

		for (last = 0; last <= 1; last++) {
			block = gpu_buddy_allocated_addr_to_block(look->mm, leaf->offset +
								  (last ? size - 1 : 0));
			if (!leaf->allocated)
				MUST(!block);
			else
				MUST(!IS_ERR_OR_NULL(block) && is_allocated(block) &&
				     gpu_buddy_block_offset(block) == leaf->offset);
		}
	}
	MUST(IS_ERR(gpu_buddy_allocated_addr_to_block(look->mm, look->mm->size)));
	MUST(IS_ERR(gpu_buddy_allocated_addr_to_block(look->mm, U64_MAX)));
	return 0;
}

#else

static long look_at_alignment(struct rb_node *node)
{
	return 0;
}

static long look_at_scoreboards(struct look *look)
{
	return 0;
}

static long look_up_addresses(struct look *look)
{
	return 0;
}

#endif

/* Walks a free tree both ways; *count grows by the number of its blocks. */
static long look_at_free_tree(struct look *look, bool clear, unsigned int order,
			      unsigned long *count)
{
	/* The private enum of the allocator lists the clear trees first. */
	struct rb_root *root = &look->mm->free_trees[clear ? 0 : 1][order];
	unsigned long forward = 0, backward = 0;
	struct rb_node *node;
	u64 end = 0;
	long ret;

	for (node = rb_first(root); node; node = rb_next(node)) {
		struct gpu_buddy_block *block = rb_entry(node, struct gpu_buddy_block, rb);

		MUST(++forward <= look->free);
		MUST(gpu_buddy_block_is_free(block));
		MUST(gpu_buddy_block_is_clear(block) == clear);
		MUST(gpu_buddy_block_order(block) == order);
		MUST(gpu_buddy_block_offset(block) >= end);
		ret = look_at_alignment(node);
		if (ret)
			return ret;
		end = gpu_buddy_block_offset(block) + gpu_buddy_block_size(look->mm, block);
	}
	for (node = rb_last(root); node; node = rb_prev(node))
		MUST(++backward <= look->free);
	MUST(forward == backward);
	*count += forward;
	return 0;
}

long host_buddy_leaves(struct gpu_buddy *mm, struct host_buddy_leaf *leaves,
		       unsigned long max)
{
	struct look look = { .mm = mm, .leaves = leaves, .max = max };
	unsigned long in_trees = 0;
	u64 offset = 0;
	unsigned int i;
	long ret;

	for (i = 0; i < mm->n_roots; i++) {
		unsigned int order = ilog2(mm->size - offset) - ilog2(mm->chunk_size);

		ret = look_at_block(&look, mm->roots[i], NULL, offset, order);
		if (ret)
			return ret;
		offset += mm->chunk_size << order;
	}
	MUST(offset == mm->size);
	MUST(look.avail == mm->avail);
	MUST(look.clear_avail == mm->clear_avail);

	/* As many as there are free leaves, and each of them free: it is all of them. */
	for (i = 0; i <= mm->max_order; i++) {
		ret = look_at_free_tree(&look, true, i, &in_trees);
		if (!ret)
			ret = look_at_free_tree(&look, false, i, &in_trees);
		if (ret)
			return ret;
	}
	MUST(in_trees == look.free);
	ret = look_at_scoreboards(&look);
	if (!ret)
		ret = look_up_addresses(&look);
	return ret ?: look.count;
}

long host_buddy_blocks(const struct list_head *list, struct host_buddy_leaf *leaves,
		       unsigned long max)
{
	struct gpu_buddy_block *block;
	unsigned long n = 0;

	list_for_each_entry(block, list, link) {
		if (n == max || !is_allocated(block) ||
		    block->link.next->prev != &block->link)
			return -1;
		leaves[n++] = (struct host_buddy_leaf) {
			.offset = gpu_buddy_block_offset(block),
			.order = gpu_buddy_block_order(block),
			.allocated = true,
			.clear = gpu_buddy_block_is_clear(block),
		};
	}
	return n;
}

struct gpu_buddy_block *host_buddy_nth(const struct list_head *list, unsigned long n)
{
	struct gpu_buddy_block *block;

	list_for_each_entry(block, list, link)
		if (!n--)
			return block;
	return NULL;
}

void host_buddy_split_off(struct list_head *list, unsigned long n, struct list_head *to)
{
	struct gpu_buddy_block *block, *next;

	list_for_each_entry_safe(block, next, list, link) {
		if (n)
			n--;
		else
			list_move_tail(&block->link, to);
	}
}

u64 host_buddy_use_after_free(struct gpu_buddy *mm)
{
	/* A root is freed with its allocator. */
	struct gpu_buddy_block *block = mm->roots[0];

	gpu_buddy_fini(mm);
	return gpu_buddy_block_offset(block);
}

u64 host_buddy_misaligned(struct gpu_buddy *mm)
{
	return gpu_buddy_block_offset((void *)mm->roots[0] + 4);
}
