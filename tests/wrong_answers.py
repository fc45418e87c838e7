"""Typical wrong answers to the exercises, and a part of the sentence that each must get.

{page: {title of the exercise: [(code of the answer, part of what is said), ...]}}. The code runs
after the page, in its names."""

# what wrong answers on page 18 are made of: a right one without `state_dict`, and with it
LARGEST = """
class LargestSoFar(Objective):
    def __init__(self):
        self.largest = torch.zeros(())

    def __call__(self, model, batch, progress):
        loss = F.mse_loss(model(batch[0]), batch[1])
        self.largest.copy_(torch.maximum(self.largest, loss.detach()))
        return loss, dict(largest=self.largest)
"""
REMEMBERS = 'self.largest.copy_(torch.maximum(self.largest, loss.detach()))'  # its line
LAST = 'self.largest.copy_(loss.detach())'
KEPT = (
    LARGEST
    + """
    def state_dict(self):
        return dict(largest=self.largest)
"""
)

# what three of the wrong answers on page 21 are made of
GUIDED = """
def guided_naive(model, cond, scales, seed):
    g, tokens = torch.Generator().manual_seed(seed), torch.zeros(len(cond), 0, dtype=torch.long)
    none = torch.full_like(cond, model.config.classes)
    both = torch.cat([cond, none])
    for scale in scales:
        answers = model(F.pad(tokens, (0, 1)).repeat(2, 1), both)[:, -1]
        p = guided_logits(answers, scale).softmax(-1)
        new = _pick(p, _random_marks(len(cond), p.device, g))
        tokens = torch.cat([tokens, new[:, None]], 1)
    return tokens
"""

# what most of the wrong answers on page 31 are made of; it is one itself
REMEMBERING = """
def remembering(work):
    last = {}
    def remembered(*args):
        if 'known' not in last or last['known'] != args:
            last['known'] = args
            last['result'] = work(*args)
        return last['result']
    return remembered
"""

# what most of the wrong answers on page 33 are made of
INTERVAL = """
def unpaired_interval(first, second):
    n = len(first)
    means = [sum(values) / n for values in (first, second)]
    spreads = [
        sum((v - mean) ** 2 for v in values) / {own}
        for values, mean in zip((first, second), means)
    ]
    half = {half}
    mean = means[0] - means[1]
    return mean, mean - half, mean + half
"""


def interval(half, own='(n - 1)'):
    return INTERVAL.format(half=half, own=own)


# what two of the wrong answers on page 14 are made of
MOVED = """
def move_rows(codebook, z, indices, keep):
    counts = torch.bincount(indices, minlength=len(codebook))[:, None]
    means = torch.zeros_like(codebook).index_add_(0, indices, z) / counts.clamp(min=1)
    moved = F.normalize(keep * codebook + (1 - keep) * means, dim=-1)
    return torch.where(counts > 0, moved, codebook)
"""

# what most of the wrong answers on page 16 are made of; it is right
IN_TOP = """
def share_in_top(prior, vectors, indices, codebook, k):
    best = cosine_logits(prior(vectors[:, :-1]), codebook).topk(k, -1).indices
    return (best == indices[:, 1:, None]).any(-1).float().mean()
"""

# what most of the wrong answers on page 22 are made of; it is right
FLOOR = """
def floor_of(rows, n, draws=4):
    found = []
    for _ in range(draws):
        order = torch.randperm(len(rows))
        one, other = rows[order[:n]], rows[order[n : 2 * n]]
        found.append(distances(one, other)[0])
    return sum(found) / draws
"""

WRONG = {
    '10_transformer': {
        '1. A block with a smaller MLP': [
            ('my_parameters = 12 * 64**2 + 10 * 64', 'the usual MLP'),
            ('my_parameters = 8 * 64**2', 'you left out the biases'),
            ('my_parameters = 8 * 64**2 + 10 * 64', '2 d biases now'),
        ],
        '2. Attention to the near past': [
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(1 - window)
    return (q @ k.T / 8**0.5 * near).softmax(-1) @ v
""",
                'a score of 0 forbids nothing',
            ),
            (
                """
def attend_near(q, k, v, window):
    return F.scaled_dot_product_attention(q, k, v)
""",
                'your mask lets output 0 see input 1',
            ),
            (
                """
def attend_near(q, k, v, window):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)
""",
                'your mask lets output 3 see input 0: too long ago',
            ),
            (
                """
def attend_near(q, k, v, window):
    weights = (q @ k.T / 8**0.5).softmax(-1)
    return weights.tril().triu(1 - window) @ v
""",
                'mask scores, not weights',
            ),
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(1 - window)
    return (q @ k.T).masked_fill(near == 0, float('-inf')).softmax(-1) @ v
""",
                'not divided by the square root of the width',
            ),
            ('attend_near = lambda q, k, v, window: v[:window]', 'expected (7, 8)'),
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(1 - window)
    scores = (q @ k.T / 8**0.5).masked_fill(near == 0, float('-inf'))
    return scores.softmax(0) @ v
""",
                'softmax over axis -1',
            ),
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(1 - window).bool()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=~near)
""",
                'your mask is inverted',
            ),
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(1 - window).bool()
    return F.scaled_dot_product_attention(k, q, v, attn_mask=near)
""",
                'queries and keys are exchanged',
            ),
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(1 - window).bool()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=near, scale=len(q) ** -0.5)
""",
                'the root of the number of tokens',
            ),
            (
                """
def attend_near(q, k, v, window):
    near = torch.ones(len(q), len(q)).tril().triu(-2).bool()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=near)
""",
                'with a window of 7',
            ),
        ],
        '3. Patches without einops': [
            (
                """
def unpatchify_plain(tokens, grid, patch):
    sides = [n * p for n, p in zip(grid, patch)]
    return tokens.reshape(-1, 3, *sides)
""",
                'permute the axes in between',
            ),
            (
                """
def unpatchify_plain(tokens, grid, patch):
    return unpatchify(tokens, grid, patch).flip(1)
""",
                'the colours are exchanged',
            ),
            (
                """
def unpatchify_plain(tokens, grid, patch):
    x = unpatchify(tokens, grid, patch)
    x.transpose(2, 3)
""",
                'is a `return` missing?',
            ),
            (
                """
def unpatchify_plain(tokens, grid, patch):
    x = tokens.reshape(-1, *grid, 3, *patch).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.reshape(-1, 3, *(n * p for n, p in zip(grid, patch)))
""",
                'channel is the last axis inside a patch',
            ),
        ],
    },
    '11_optim': {
        '1. How many full steps is a run worth?': [
            ('my_steps = 1000', 'a run without a schedule'),
            ('my_steps = 0.505 * 900', 'the descent alone'),
            ('my_steps = 100 + 0.505 * 900', 'one half on average'),
        ],
        '2. One norm for all': [
            (
                """
def clip_together(gradients, most):
    return [g * min(1.0, most / g.norm().item()) for g in gradients]
""",
                'use one factor',
            ),
            (
                """
def clip_together(gradients, most):
    norm = sum(g.square().sum() for g in gradients) ** 0.5
    return [g * most / norm for g in gradients]
""",
                'scaled down, never up',
            ),
            (
                """
def clip_together(gradients, most):
    norm = sum(g.norm() for g in gradients)
    return [g * most / norm for g in gradients]
""",
                'the joint norm is',
            ),
            (
                """
def clip_together(gradients, most):
    norm = sum(g.square().sum() for g in gradients) ** 0.5
    return torch.stack([g.norm() for g in gradients]) * most / norm
""",
                'expected a list of two tensors',
            ),
            (
                """
def clip_together(gradients, most):
    norm = sum(g.square().sum() for g in gradients) ** 0.5
    return [g * min(1.0, 1.0 / max(norm.item(), 1e-12)) for g in gradients]
""",
                'with most=2.5',
            ),
            (
                """
def clip_together(gradients, most):
    norm = sum(g.square().sum() for g in gradients) ** 0.5
    return [-g * min(1.0, most / max(norm.item(), 1e-12)) for g in gradients]
""",
                'wrong in sign',
            ),
        ],
    },
    '12_patchwise': {
        '1. The best of 30 shuffles': [
            ("my_nats = counted['raster']", 'that is raster order'),
            ('my_nats = math.log(K)', 'that is a uniform guess'),
        ],
        '2. A snake': [
            ('snake = lambda t, h, w: torch.arange(t * h * w)', 'from patch 3 to patch 4'),
            ('snake = lambda t, h, w: spiral(h, w)', 'expected (24,)'),
            (
                """
def snake(t, h, w):
    return torch.cat([spiral(h, w) + k * h * w for k in range(t)])
""",
                'not row by row',
            ),
            (
                """
def snake(t, h, w):
    order = torch.arange(t * h * w).reshape(t, h, w)
    order[:, 1::2] = order[:, :1].flip(-1)
    return order.reshape(-1)
""",
                'is read 2 times',
            ),
            (
                """
def snake(t, h, w):
    order = torch.arange(t * h * w).reshape(t, h, w)
    order[:, ::2] = order[:, ::2].flip(-1)
    return order.reshape(-1)
""",
                'its first row goes to the right',
            ),
        ],
    },
    '13_holistic': {
        '1. Shuffled tokens': [
            ('my_psnr = psnr(drawn, large_clips)', 'here order counts'),
            ('my_psnr = psnr(large_clips.roll(1, 0), large_clips)', 'something greyer'),
        ],
        '2. Queries that read': [
            (
                """
def read_clip(blocks, patches, queries):
    x = torch.cat([patches, queries.expand(len(patches), -1, -1)], 1)
    return nn.Sequential(*blocks)(x)[:, : len(queries)]
""",
                'have you kept the patches?',
            ),
            (
                """
def read_clip(blocks, patches, queries):
    return nn.Sequential(*blocks)(queries.expand(len(patches), -1, -1))
""",
                'token 0 does not see patch 0',
            ),
            (
                """
def read_clip(blocks, patches, queries):
    x = torch.cat([patches, queries.expand(len(patches), -1, -1)], 1)
    n = x.shape[1]
    x = nn.Sequential(*blocks)(x.flatten(0, 1)[None])
    return x.unflatten(1, (-1, n))[0, :, patches.shape[1] :]
""",
                'clips must not mix',
            ),
            (
                """
def read_clip(blocks, patches, queries):
    tokens = queries.expand(len(patches), -1, -1)
    for block in blocks:
        tokens = block(torch.cat([patches, tokens], 1))[:, patches.shape[1] :]
    return tokens
""",
                'the patches must go on through the blocks',
            ),
        ],
    },
    '14_quantize': {
        '1. The loss at a right angle': [
            ('my_loss = 0.5', 'you counted both losses in full'),
            ('my_loss = 2.5', 'that is the sum over the 8 numbers'),
            ('my_loss = 0.25', 'that is the codebook loss alone'),
            ('my_loss = 1.25 * 2**0.5 / 8', 'not its root'),
        ],
        '2. Who moves the codebook?': [
            ('my_rows = 128', 'a row that no token chose'),
            ('my_rows = 48', 'two tokens often choose the same row'),
            ('my_rows = 0', 'the loss does move the codebook'),
            ('my_rows = 0.3125', 'that is a share'),
            ('my_rows = 3', 'much too small'),
        ],
        '3. Half of the tokens': [
            ('my_temperature = 0.03', 'most of the draws still agree'),
            ('my_temperature = 0.1', 'three draws in ten'),
            ('my_temperature = 1.0', 'much too large'),
        ],
        '4. Rows that follow without a gradient': [
            (
                """
def move_rows(codebook, z, indices, keep):
    new = torch.zeros_like(codebook)
    for k in indices.unique():
        mean = z[indices == k].mean(0)
        new[k] = F.normalize(keep * codebook[k] + (1 - keep) * mean, dim=0)
    return new
""",
                'is zero now: it stays where it is',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    means = torch.stack([z[indices == k].mean(0) for k in range(len(codebook))])
    return F.normalize(keep * codebook + (1 - keep) * means, dim=-1)
""",
                'row 4, which no token chose, is 0 / 0 now',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    counts = torch.bincount(indices, minlength=len(codebook))[:, None]
    sums = torch.zeros_like(codebook).index_add_(0, indices, z)
    moved = (1 - keep) * codebook + keep * sums / counts.clamp(min=1)
    return F.normalize(torch.where(counts > 0, moved, codebook), dim=-1)
""",
                '`keep` is the share of the old row',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    sums = torch.zeros_like(codebook).index_add_(0, indices, z)
    return F.normalize(keep * codebook + (1 - keep) * sums, dim=-1)
""",
                'the sum of its tokens, expected their mean',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    counts = torch.bincount(indices, minlength=len(codebook))[:, None]
    sums = torch.zeros_like(codebook).index_add_(0, indices, z)
    return keep * codebook + (1 - keep) * sums / counts.clamp(min=1)
""",
                'expected 1: scale it again',
            ),
            (
                MOVED.replace('moved, codebook)', 'moved, z[:1])'),
                'row 4, which no token chose, has moved',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    new = codebook.clone()
    new[0] = F.normalize(keep * codebook[0] + (1 - keep) * z[indices == 0].mean(0), dim=0)
    return new
""",
                'row 1 (tokens that chose it: 2) has not moved',
            ),
            (
                MOVED.replace('counts > 0', 'counts > 1'),
                'row 2 (tokens that chose it: 1) has not moved',
            ),
            (
                MOVED.replace('counts.clamp(min=1)', '(1 + 2 * (counts > 1))'),
                'with keep=0.9, row 1',
            ),
            (
                MOVED.replace('keep * codebook + (1 - keep)', '0.9 * codebook + 0.1'),
                'with keep=0.6, row 0',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    for k in indices.unique():
        moved = keep * codebook[k] + (1 - keep) * z[indices == k].mean(0)
        codebook[k] = F.normalize(moved, dim=0)
    return codebook
""",
                'return a new one',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    new = codebook.clone()
    for token, k in zip(z, indices):
        new[k] = F.normalize(keep * codebook[k] + (1 - keep) * token, dim=0)
    return new
""",
                'only the last token of each row counts',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    new = codebook.clone()
    for token, k in zip(z, indices):
        new[k] = F.normalize(keep * new[k] + (1 - keep) * token, dim=0)
    return new
""",
                'expected once towards their mean',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    new = codebook.clone()
    for token, k in zip(z, indices):
        new[k] = keep * new[k] + (1 - keep) * token
    return F.normalize(new, dim=-1)
""",
                'a row moves once for each of its tokens',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    new = codebook.clone()
    for k in indices.unique():
        new[k] = F.normalize(keep * codebook[k] + (1 - keep) * z[indices == k].mean(), dim=0)
    return new
""",
                'the mean is one number',
            ),
            (
                MOVED.replace('(1 - keep) * means', '(1 - keep) * F.normalize(means, dim=-1)'),
                'scaled to norm 1 before',
            ),
        ],
    },
    '15_losses': {
        '1. The best logit': [
            ('my_logit = 0.9', 'the question asks for the logit'),
            ('my_logit = np.log10(9)', 'base 10'),
            ('my_logit = -np.log(9)', 'wrong in sign'),
            ('my_logit = 2.0', "LARP's targets"),
        ],
        '2. A loss for motion': [
            ('motion_loss = F.l1_loss', 'brighter all over costs something'),
            (
                """
def motion_loss(recon, clip):
    return (recon.diff(dim=-1) - clip.diff(dim=-1)).abs().mean()
""",
                'time is axis 2',
            ),
            (
                """
def motion_loss(recon, clip):
    return (recon.diff(dim=2) - clip.diff(dim=2)).square().mean()
""",
                'absolute errors, not squares',
            ),
            (
                """
def motion_loss(recon, clip):
    return (recon.diff(dim=2) - clip.diff(dim=2)).abs().sum()
""",
                'take the mean, not the sum',
            ),
            (
                """
def motion_loss(recon, clip):
    return (recon.diff(dim=2) - clip.diff(dim=2)).abs().mean(0)
""",
                'expected one number',
            ),
            (
                """
def motion_loss(recon, clip):
    return (recon.diff(dim=2).abs() - clip.diff(dim=2).abs()).abs().mean()
""",
                'moves as far the other way costs nothing',
            ),
            (
                """
def motion_loss(recon, clip):
    return F.relu(clip.diff(dim=2).abs() - recon.diff(dim=2).abs()).mean()
""",
                'moves as far the other way costs nothing',
            ),
            (
                """
def motion_loss(recon, clip):
    steps, right = recon.diff(dim=2), clip.diff(dim=2)
    return ((steps - right).abs() * (steps.abs() <= right.abs() + 1e-6)).mean()
""",
                'every step is wrong by as much',
            ),
            (
                """
def motion_loss(recon, clip):
    return (recon.detach().diff(dim=2) - clip.diff(dim=2)).abs().mean()
""",
                'passes no gradient',
            ),
        ],
    },
    '16_prior': {
        '1. A prior that is certain': [
            ('my_loss = 0', 'cosines end at 1'),
            ('my_loss = prior_bounds(128)[0]', 'that is the lower bound'),
            ('my_loss = math.log(128)', 'knows nothing'),
            ('my_loss = 8.04', 'the best case for 8,192 codes'),
            ('my_loss = 11 / 12 * certain_loss()', 'the first one has no guess'),
        ],
        '2. Half of the uniform loss': [
            ('my_temperature = 0.185', 'that is the other curve'),
            ('my_temperature = 1', 'the lower bound is 7.0 of 9.0'),
            ('my_temperature = 0.22', 'differ by up to 2'),
        ],
        '3. Among the first five': [
            (
                """
def share_in_top(prior, vectors, indices, codebook, k):
    best = cosine_logits(prior(vectors[:, :-1]), codebook).topk(k, -1).indices
    return torch.isin(indices[:, 1:], best).float().mean()
""",
                'compared with the guesses for other tokens',
            ),
            (
                """
def share_in_top(prior, vectors, indices, codebook, k):
    best = cosine_logits(prior(vectors), codebook).topk(k, -1).indices
    return (best == indices[..., None]).any(-1).float().mean()
""",
                'expected i + 1',
            ),
            (
                """
def share_in_top(prior, vectors, indices, codebook, k):
    best = cosine_logits(prior(vectors[:, :-1]), codebook).topk(k, -1).indices
    return (best == indices[:, 1:, None]).any(-1).float().sum()
""",
                'the result is 14 times the right one',
            ),
            (
                """
def share_in_top(prior, vectors, indices, codebook, k):
    logits = cosine_logits(prior(vectors[:, :-1]), codebook)
    best = logits.topk(k, -1, largest=False).indices
    return (best == indices[:, 1:, None]).any(-1).float().mean()
""",
                'farthest from the guess',
            ),
            (
                IN_TOP.replace('indices[:, 1:', 'indices[:, :-1').replace(
                    'vectors[:, :-1]), codebook)', 'vectors[:, 1:]), codebook)'
                ),
                'the shift goes the wrong way',
            ),
            (IN_TOP.replace('prior(vectors[:, :-1])', 'vectors[:, :-1]'), 'never calls `prior`'),
            (IN_TOP.replace('topk(k, -1).indices', 'topk(k, -1).values'), 'ask with `any`'),
            (IN_TOP.replace('.any(-1)', ''), 'mean over the k codes'),
            (
                IN_TOP.replace('.mean()', '.sum() / indices.numel()'),
                'only n - 1 tokens have a guess',
            ),
            (
                """
def share_in_top(prior, vectors, indices, codebook, k):
    prior.eval()
    best = cosine_logits(prior(vectors[:1, :-1]), codebook).topk(k, -1).indices
    return (best == indices[:1, 1:, None]).any(-1).float().mean()
""",
                'do all tokens of all clips count?',
            ),
            (
                """
def share_in_top(prior, vectors, indices, codebook, k):
    prior.eval()
    best = cosine_logits(prior(vectors[:, :-1]), codebook).argmax(-1)
    return (best == indices[:, 1:]).float().mean()
""",
                'do you use `k`?',
            ),
        ],
    },
    '17_tokenizer': {
        '1. How small is a clip?': [
            ('my_ratio = 384', 'two bytes a token'),
            ('my_ratio = 768', 'needs 13 bits'),
            ('my_ratio = 59', 'a byte has 8 bits'),
            ('my_ratio = 157.5', 'three colours'),
        ],
        '2. A parameter budget': [
            (
                """
def my_config():
    small = tokenizer_presets['small']
    return replace(small, dim=128, encoder_depth=7, decoder_depth=7, prior_dim=96)
""",
                'prior_dim is 96, but should stay',
            ),
            (
                """
def my_config():
    return replace(tokenizer_presets['small'], dim=128)
""",
                'one more block still fits',
            ),
            (
                """
def my_config():
    return replace(tokenizer_presets['small'], dim=128, encoder_depth=8, decoder_depth=8)
""",
                'too many',
            ),
            ("my_config = lambda: tokenizer_presets['small']", 'expected half of 256'),
            ('my_config = lambda: dict(dim=128)', 'returns a dict'),
            (
                """
def my_config():
    return replace(tokenizer_presets['small'], dim=128, n_tokens=64, encoder_depth=7)
""",
                'n_tokens is 64, but should stay 128',
            ),
        ],
    },
    '18_objective': {
        '1. While quantisation waits': [
            (
                "my_share = paid['perceptual'] / (unquantised + paid['vq'])",
                "the quantiser's term needs indices",
            ),
            ('my_share = 0.5', 'too small'),
            ('my_share = 0.449', 'by its weight first'),
            (
                "my_share = heights['LARP'][2] / (heights['LARP'][1] + heights['LARP'][2])",
                'the adversarial term needs no indices',
            ),
            ("my_share = heights['LARP'][2] / sum(heights['LARP'])", 'two of them need indices'),
            (
                "my_share = heights['LARP'][2] / (sum(heights['LARP']) - heights['LARP'][4])",
                'the prior needs indices as well',
            ),
            ('my_share = 60', 'is it per cent'),
        ],
        '2. The largest loss so far': [
            (
                KEPT.replace('dict(largest=self.largest)', 'dict(largest=loss.detach())', 1),
                'is that of the last batch',
            ),
            (
                KEPT.replace('torch.zeros(())', 'torch.tensor(-math.inf)'),
                'begins at -inf, expected 0',
            ),
            (KEPT.replace('torch.zeros(())', 'torch.tensor(0)'), 'which holds no loss'),
            (
                KEPT
                + """
    def load_state_dict(self, tensors):
        self.largest = tensors['largest']
""",
                'changes with the first: copy it',
            ),
            (
                LARGEST
                + """
    def state_dict(self):
        return dict(largest=self.largest.item())
""",
                "a float as 'largest', expected the tensor",
            ),
            (LARGEST.replace('__call__', 'forward'), 'write `__call__'),
            (
                LARGEST.replace('dict(largest=self.largest)', 'self.largest'),
                'must be a dict of statistics',
            ),
            (KEPT.replace(REMEMBERS, f'if self.largest == 0: {LAST}'), 'a larger loss came later'),
            (
                KEPT
                + """
    def restore(self, before, broken):
        super().restore(before, torch.tensor(True))
""",
                'that was not broken is undone',
            ),
            (
                """
class LargestSoFar(Objective):
    def __init__(self):
        self.largest = 0.0

    def __call__(self, model, batch, progress):
        loss = F.mse_loss(model(batch[0]), batch[1])
        self.largest = max(self.largest, loss.item())
        return loss, dict(largest=self.largest)
""",
                'must be a tensor',
            ),
            (LARGEST, 'your `state_dict` is empty'),
            (
                LARGEST
                + """
    def state_dict(self):
        return dict(largest=self.largest.clone())
""",
                'is your `state_dict` a copy?',
            ),
            (KEPT.replace(REMEMBERS, LAST), 'the last loss, not the largest'),
        ],
    },
    '19_trainer': {
        '1. The decay grows': [
            ('my_step = 80', 'at that step it keeps 0.9'),
            ('my_step = 1 / (1 - 0.98)', 'how far back the average looks'),
            ('my_step = 44', 'too small'),
        ],
        '2. How long does Adam remember?': [
            ('my_steps = math.log(1e4 * 0.01) / -math.log(0.99)', 'the square of 10,000'),
            ('my_steps = math.log(1e8) / -math.log(0.99)', 'with a share of 0.01 only'),
            ('my_steps = 100', 'to about a third only'),
            ('my_steps = 153', 'the decay of the momentum'),
        ],
        '3. The place in the data': [
            (
                """
def shuffled(n, batch, start):
    yield from torch.randperm(n).split(batch)
""",
                'after 3 batches there are no more',
            ),
            (
                """
def shuffled(n, batch, start):
    for step in itertools.count(start):
        yield torch.randint(n, (batch,))
""",
                'expected each of 0 to 11 once',
            ),
            (
                """
def shuffled(n, batch, start):
    for step in itertools.count(start):
        yield torch.arange(n).roll(-step * batch)[:batch]
""",
                'pass 0 is not shuffled',
            ),
            (
                """
def shuffled(n, batch, start):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).split(batch)
    for step in itertools.count(start):
        yield order[step % len(order)]
""",
                'pass 1 has the order of pass 0',
            ),
            (
                """
def shuffled(n, batch, start):
    while True:
        yield from torch.randperm(n).split(batch)
""",
                'a second run from step 0 sees another order',
            ),
            (
                """
def shuffled(n, batch, start):
    for step in itertools.count(start):
        torch.manual_seed(step // (n // batch))
        yield torch.randperm(n).split(batch)[step % (n // batch)]
""",
                "you change torch's own random numbers",
            ),
            (
                """
def shuffled(n, batch, start):
    g = torch.Generator().manual_seed(0)
    while True:
        yield from torch.randperm(n, generator=g).split(batch)
""",
                'starts at step 5 begins at step 0 again',
            ),
            (
                """
def shuffled(n, batch, start):
    for k in itertools.count(start * batch // n):
        yield from torch.randperm(n, generator=torch.Generator().manual_seed(k)).split(batch)
""",
                'begins at the start of that pass',
            ),
            (
                """
def shuffled(n, batch, start):
    g = torch.Generator().manual_seed(start)
    while True:
        yield from torch.randperm(n, generator=g).split(batch)
""",
                'sees other clips than the whole run does',
            ),
        ],
    },
    '20_generator': {
        '1. A clip in bits': [
            ('my_bits = 16 * 1.38', 'that is in nats'),
            ('my_bits = 16 * 1.38 * math.log(2)', 'expected divided'),
            ('my_bits = 1.38 / math.log(2)', 'that is one token'),
            ('my_bits = 16 * 8', 'without the generator'),
            ('my_bits = 1.38', 'the loss of one token, in nats'),
            (
                'my_bits = n * whole.item() / math.log(2) + math.log2(9)',
                'you stored the class, too',
            ),
        ],
        '2. One block of the largest': [
            ('my_parameters = 12 * 1280**2', 'and two norms'),
            ('my_parameters = 12 * 1280**2 + 2 * 1280', 'with a hidden width of 3,584'),
            ('my_parameters = 4 * 1280**2 + 3 * 1280 * 3413 + 2 * 1280', '8/3 of the width'),
            ('my_parameters = 4 * 1280**2 + 3 * 1280 * 3584 + 1280', 'a block has two norms'),
            ('my_parameters = 4 * 1280**2 + 2 * 1280 * 3584 + 2 * 1280', 'has three matrices'),
            ('my_parameters = 4 * 1280**2 + 3 * 1280 * 3584', 'the two norms are missing'),
        ],
        '3. Backwards': [
            ('backward_logits = lambda model, tokens, cond: model(tokens, cond)', 'see token 0'),
            (
                """
def backward_logits(model, tokens, cond):
    return model(tokens.flip(1), cond)
""",
                'put the logits back in order',
            ),
            (
                """
def backward_logits(model, tokens, cond):
    return model(tokens, cond).flip(1)
""",
                'your logits 0 see token 0, expected only tokens after them',
            ),
            (
                """
def backward_logits(model, tokens, cond):
    return model(tokens[:, 1:].flip(1), cond).flip(1)
""",
                'expected (4, 6, 256)',
            ),
        ],
        '4. Bigrams': [
            (
                """
def bigram_nats(seen, new, codes, add):
    nats = []
    for i in range(1, seen.shape[1]):
        pairs = torch.bincount(codes * seen[:, i - 1] + seen[:, i], minlength=codes**2)
        shares = pairs.reshape(codes, codes) / len(seen)
        nats.append(-shares.log()[new[:, i - 1], new[:, i]].mean())
    return torch.stack(nats)
""",
                'add `add` to every cell',
            ),
            (
                """
def bigram_nats(seen, new, codes, add):
    nats = []
    for i in range(1, seen.shape[1]):
        pairs = torch.bincount(codes * seen[:, i - 1] + seen[:, i], minlength=codes**2) + add
        pairs = pairs.reshape(codes, codes)
        nats.append(-(pairs / pairs.sum(0)).log()[new[:, i - 1], new[:, i]].mean())
    return torch.stack(nats)
""",
                'your columns add up to 1',
            ),
            (
                """
def bigram_nats(seen, new, codes, add):
    pairs = torch.bincount((codes * seen[:, :-1] + seen[:, 1:]).flatten(), minlength=codes**2)
    pairs = pairs.reshape(codes, codes) + add
    shares = pairs / pairs.sum(1, keepdim=True)
    return -shares.log()[new[:, :-1], new[:, 1:]].mean(0)
""",
                'one table for all positions',
            ),
            (
                """
def bigram_nats(seen, new, codes, add):
    nats = []
    for i in range(1, seen.shape[1]):
        pairs = torch.bincount(codes * seen[:, i - 1] + seen[:, i], minlength=codes**2) + add
        pairs = pairs.reshape(codes, codes)
        shares = pairs / pairs.sum(1, keepdim=True)
        nats.append(-shares.log()[seen[:, i - 1], seen[:, i]].mean())
    return torch.stack(nats)
""",
                'you measure on the clips that were counted',
            ),
            (
                """
def bigram_nats(seen, new, codes, add):
    nats = []
    for i in range(1, seen.shape[1]):
        pairs = torch.full((codes, codes), float(add))
        pairs[seen[:, i - 1], seen[:, i]] += 1
        shares = pairs / pairs.sum(1, keepdim=True)
        nats.append(-shares.log()[new[:, i - 1], new[:, i]].mean())
    return torch.stack(nats)
""",
                'a pair that occurs often is counted once',
            ),
            (
                """
def bigram_nats(seen, new, codes, add):
    nats = []
    for i in range(1, seen.shape[1]):
        pairs = torch.bincount(codes * seen[:, i - 1] + seen[:, i], minlength=codes**2)
        pairs = pairs.reshape(codes, codes)
        shares = (pairs + add) / (pairs.sum(1, keepdim=True) + add)
        nats.append(-shares.log()[new[:, i - 1], new[:, i]].mean())
    return torch.stack(nats)
""",
                'its sum grows by `codes * add`',
            ),
            (
                """
def bigram_nats(seen, new, codes, add):
    nats = []
    for i in range(1, seen.shape[1]):
        pairs = torch.bincount(codes * seen[:, i - 1] + seen[:, i], minlength=codes**2) + 0.5
        pairs = pairs.reshape(codes, codes)
        shares = pairs / pairs.sum(1, keepdim=True)
        nats.append(-shares.log()[new[:, i - 1], new[:, i]].mean())
    return torch.stack(nats)
""",
                'with add = 2 they are not',
            ),
        ],
    },
    '21_sampling': {
        '1. Nine times in ten': [
            ('my_temperature = 0.5', 'seven tenths of their sum'),
            ('my_temperature = 0.5 / 0.9', 'not the probabilities'),
            ('my_temperature = 4.5', 'that is 1 / T'),
        ],
        '2. The price of a cache': [
            ('my_megabytes = 30 * 2 * 1024 * 1280 * 4', 'these are bytes'),
            ('my_megabytes = 3 * 4 * 30 * 1024 * 1280 / 1e6', 'the queries are not kept'),
            ('my_megabytes = 300', 'a megabyte is a million bytes'),
            ('my_megabytes = 4 * 30 * 1024 * 1280 / 1e6', 'half of it: keys and values'),
            ('my_megabytes = 4 * 2 * 1024 * 1280 / 1e6', 'that is one block'),
            ('my_megabytes = 4 * 30 * 2 * 20 * 1024 * 1280 / 1e6', 'do not count them again'),
        ],
        '3. Min-p': [
            (
                """
def min_p(logits, share):
    least = logits.amax(-1, keepdim=True) + math.log(share)
    return logits.masked_fill(logits <= least, float('-inf'))
""",
                '"at least" is not "more than"',
            ),
            (
                'min_p = lambda logits, share: filter_logits(logits, top_p=1 - share)',
                'expected 5 and 1',
            ),
            (
                """
def min_p(logits, share):
    p = logits.softmax(-1)
    return logits.masked_fill(p < share * p.max(), float('-inf'))
""",
                'the largest probability of all rows',
            ),
            (
                """
def min_p(logits, share):
    p = logits.softmax(0)
    return logits.masked_fill(p < share * p.amax(-1, keepdim=True), float('-inf'))
""",
                'those of a column: softmax over axis -1',
            ),
            (
                """
def min_p(logits, share):
    least = logits.amax(-1, keepdim=True) + math.log(share)
    return logits.masked_fill_(logits < least, float('-inf'))
""",
                'your function changes the logits that it was given',
            ),
            (
                """
def min_p(logits, share):
    return logits.masked_fill(logits.softmax(-1) < share, float('-inf'))
""",
                'with a probability of at least `share`',
            ),
            (
                """
def min_p(logits, share):
    return logits.masked_fill(logits < share * logits.amax(-1, keepdim=True), float('-inf'))
""",
                'a share of the largest logit says nothing',
            ),
            (
                """
def min_p(logits, share):
    return logits.masked_fill(logits < logits.max() + math.log(share), float('-inf'))
""",
                'expected that of each row',
            ),
            (
                """
def min_p(logits, share):
    p = logits.softmax(-1)
    return p * (p >= share * p.amax(-1, keepdim=True))
""",
                'there is no negative number',
            ),
            (
                """
def min_p(logits, share):
    least = logits.amax(-1, keepdim=True) + math.log(share)
    return logits.masked_fill(logits < least, 0.0)
""",
                'nothing is -inf',
            ),
            (
                """
def min_p(logits, share):
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) - share, float('-inf'))
""",
                'of two rows you keep 1 and 1 codes, expected 5 and 1',
            ),
            (
                """
def min_p(logits, share):
    least = logits.amax(-1, keepdim=True) + math.log(0.2)
    return logits.masked_fill(logits < least, float('-inf'))
""",
                'with a share of 0.5',
            ),
            (
                """
def min_p(logits, share):
    least = logits.amax(1, keepdim=True) + math.log(share)
    return logits.masked_fill(logits < least, float('-inf'))
""",
                'logits of three axes',
            ),
        ],
        '4. Guidance for some of the tokens': [
            (
                GUIDED.replace(
                    'guided_logits(answers, scale)',
                    '(lambda a, b: a + scale * (a - b))(*answers.chunk(2))',
                ),
                'go from "without" towards "with"',
            ),
            (
                """
def guided_naive(model, cond, scales, seed):
    return naive(model, cond, seed)
""",
                'the class still matters',
            ),
            (
                """
def guided_naive(model, cond, scales, seed):
    return generate(model, cond, guidance_scale=scales[0], seed=seed)
""",
                'the scale of the first token is used for all',
            ),
            (GUIDED.replace('cond, none', 'none, cond'), '"with" and "without" are exchanged'),
            (GUIDED.replace('model.config.classes', '0'), 'is "no class" the class'),
            (
                GUIDED.replace('in scales', 'in scales[1:] + scales[:1]'),
                'the first four tokens is 8',
            ),
            (
                GUIDED.replace(
                    'for scale in scales:',
                    'for scale in [sum(scales[:i]) / i for i in range(1, len(scales) + 1)]:',
                ),
                'it is not drawn so',
            ),
        ],
    },
    '22_metrics': {
        '1. Half of the clips': [
            ('my_distance = 4.33', 'with fewer clips it is larger'),
            ('my_distance = 2.17', 'a larger distance, not a smaller one'),
            ('my_distance = 6.1', 'this distance is squared already'),
        ],
        '2. Divided by N, or by N - 1': [
            ('my_share = 0.25', 'the larger variance is 4/3'),
            ('my_share = 0.0625', 'take the root of the variances first'),
            ('my_share = 1 / 3', 'standard deviations are compared'),
            ('my_share = (4 / 3) ** 0.5 - 1', 'the distance is squared'),
            ('my_share = 0', 'divided by 3 is larger'),
            ('my_share = (1 - 0.75**0.5) ** 2', 'the share of the other trace'),
            ('my_share = 2.4', 'is it per cent'),
        ],
        '3. The floor of a set': [
            (
                """
def floor_of(rows, n, draws=4):
    found = []
    for _ in range(draws):
        order = torch.randperm(2 * n)
        one, other = rows[order[:n]], rows[order[n:]]
        found.append(distances(one, other)[0])
    return np.mean(found)
""",
                'mix all rows, not the first 2 n only',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    order, found = torch.randperm(len(rows)), []
    for _ in range(draws):
        others = order[n:][torch.randperm(len(rows) - n)[:n]]
        found.append(distances(rows[order[:n]], rows[others])[0])
    return np.mean(found)
""",
                'and a new pair each time?',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    one = FeatureStats(rows.shape[1]).update(rows[:n])
    return fvd(one, one)
""",
                'is each set compared with itself?',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    one = FeatureStats(rows.shape[1]).update(rows[:n])
    return fvd(one, FeatureStats(rows.shape[1]).update(rows[n : 2 * n]))
""",
                'your floor sees it: mix',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    one, other = (rows[torch.randperm(len(rows))[:n]] for _ in range(2))
    return distances(one, other)[0]
""",
                'do your sets share rows?',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    one, other = rows[torch.randperm(len(rows))].chunk(2)
    return distances(one, other)[0]
""",
                'has each set 64 rows',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    order = torch.randperm(len(rows))
    return distances(rows[order[:n]], rows[order[n : 2 * n]])[0]
""",
                'do you use `draws`',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    found = []
    for _ in range(draws):
        one, other = (rows[torch.randint(len(rows), (n,))] for _ in range(2))
        found.append(distances(one, other)[0])
    return sum(found) / draws
""",
                'do your sets share rows?',
            ),
            (
                """
def floor_of(rows, n, draws=4):
    found = []
    for _ in range(draws):
        halves = rows[torch.randperm(len(rows))].chunk(2)
        one, other = (half[torch.randint(len(half), (n,))] for half in halves)
        found.append(distances(one, other)[0])
    return sum(found) / draws
""",
                'no row twice?',
            ),
            (
                FLOOR.replace('        order', '        torch.manual_seed(0)\n        order'),
                'a new pair each time?',
            ),
            (
                FLOOR.replace('range(draws)', 'range(1)')
                .replace('    found', '    torch.manual_seed(0)\n    found', 1)
                .replace(' / draws', ''),
                'a new pair each time?',
            ),
            (FLOOR.replace(' / draws', ''), 'expected their mean, not their sum'),
            (FLOOR.replace(', other)[0]', ', other)[1]'), 'is it the kernel distance?'),
            (
                """
def floor_of(rows, n, draws=4):
    one, other = FeatureStats(rows.shape[1]), FeatureStats(rows.shape[1])
    for _ in range(draws):
        order = torch.randperm(len(rows))
        one.update(rows[order[:n]])
        other.update(rows[order[n : 2 * n]])
    return fvd(one, other)
""",
                'with a new order of all rows and two new sets',
            ),
            (FLOOR.replace('n : 2 * n', 'n:'), 'has each set 64 rows'),
            (
                FLOOR.replace(
                    'order[:n]], rows[order[n : 2 * n]]',
                    'order[: n // 2]], rows[order[n // 2 : n]]',
                ),
                'has each set 128 rows',
            ),
        ],
    },
    '23_judge': {
        '1. The same clips twice': [
            ('my_distance = 2.51', 'the floor of 1,024 different clips'),
            ('my_distance = floor / 2', 'here it does not'),
            ('my_distance = 2 * floor', 'do not differ more than before'),
        ],
        '2. Three classes lost': [
            ('my_recall = 0.94', 'that is the precision'),
            ('my_recall = 1 / 3', 'the share that is lost'),
            ('my_recall = 0.85', 'discs have three of them'),
            ('my_recall = 0.96', 'the recall with all classes'),
        ],
        '3. Whose fault is it?': [
            (
                """
def two_parts(a, b):
    means = (a.mean - b.mean).norm().item()
    return means, fvd(a, b) - means
""",
                'the length is squared',
            ),
            (
                """
def two_parts(a, b):
    means = (a.mean - b.mean).square().sum().item()
    return fvd(a, b) - means, means
""",
                'the part of the covariances first',
            ),
            (
                """
def two_parts(a, b):
    return (a.mean - b.mean).square().sum().item(), fvd(a, b)
""",
                'is the whole distance',
            ),
            (
                """
def two_parts(a, b):
    return (a.mean - b.mean).square().sum().item(), (a.cov - b.cov).square().sum().item()
""",
                'two sets with one mean have the parts',
            ),
            ('two_parts = fvd', 'the result is a float, expected two numbers'),
            (
                """
def two_parts(a, b):
    spread = (a.cov.diagonal().sqrt() - b.cov.diagonal().sqrt()).square().sum()
    return (a.mean - b.mean).square().sum().item(), spread.item()
""",
                'your parts do not add up',
            ),
        ],
    },
    '24_story': {
        '1. One frame held': [
            ('my_psnr = 18.62', 'the best of all stills'),
            ('my_psnr = 21.6', 'so fewer decibels'),
            ('my_psnr = 9.3', 'decibels are a logarithm'),
            ('my_psnr = 12.6', '3 decibels, not 6'),
        ],
        '2. Fewer generated clips': [
            ("my_gfvd = shipped['gfvd']", 'the floor of 225 is higher'),
            ("my_gfvd = 4 * shipped['gfvd']", 'only the part of the floor grows'),
            ("my_gfvd = shipped['gfvd'] / 4", 'a larger distance, not a smaller one'),
        ],
        '3. Find the copies': [
            (
                """
def are_copies(clips, train, error):
    return torch.cdist(clips.flatten(1), train.flatten(1)).min(1).values <= error
""",
                'a sum over the numbers of a clip',
            ),
            (
                """
def are_copies(clips, train, error):
    apart = (clips.flatten(1)[:, None] - train.flatten(1)).square().mean(-1)
    return apart.min(1).values <= error
""",
                'the root of the mean of the squares',
            ),
            (
                """
def are_copies(clips, train, error):
    apart = (clips.flatten(1)[:, None] - train.flatten(1)).square().mean(-1).sqrt()
    return apart.mean(1) <= error
""",
                'take the nearest training clip',
            ),
            (
                """
def are_copies(clips, train, error):
    apart = (clips.flatten(1)[:, None] - train.flatten(1)).square().mean(-1).sqrt()
    return apart <= error
""",
                'near to *any* of them',
            ),
            (
                """
def are_copies(clips, train, error):
    apart = (clips.flatten(1)[:, None] - train.flatten(1)).square().mean(-1).sqrt()
    return apart.min(1).values <= 0.06
""",
                'none for an `error` of 0.02: do you use `error`',
            ),
        ],
    },
    '25_demo': {
        '1. Beside other clips': [
            ('my_distance = 1.32', 'the distance to their own clips'),
            ('my_distance = 1.69', 'that is the floor'),
            ('my_distance = 1.69 - 1.32', 'add them, do not subtract'),
        ],
        '2. Half of the clips stand still': [
            ('my_distance = 229', 'a distance is not a mean over clips'),
            ('my_distance = 458 / 4', 'that of the covariances is a little more'),
            ('my_distance = 458', 'when all clips are frozen'),
            ('my_distance = 1.69', 'as if nothing were frozen'),
        ],
        '3. Class by class': [
            (
                """
def recognised_by_class(named, asked, classes):
    return (named == asked).float().mean()
""",
                'the mean over all clips: give one for each class',
            ),
            (
                """
def recognised_by_class(named, asked, classes):
    right = (named == asked).float()
    return torch.stack([right[named == c].mean() for c in range(classes)])
""",
                'how often the judge named a class',
            ),
            (
                """
def recognised_by_class(named, asked, classes):
    return torch.bincount(asked[named == asked], minlength=classes) / len(asked)
""",
                'by the number of all clips',
            ),
            (
                """
def recognised_by_class(named, asked, classes):
    return torch.bincount(asked[named == asked], minlength=classes)
""",
                'these are counts',
            ),
            (
                """
def recognised_by_class(named, asked, classes):
    right = torch.bincount(asked[named == asked], minlength=classes)
    return right / torch.bincount(asked, minlength=classes).clamp(min=1)
""",
                'class 3 was never asked for, and you say 0',
            ),
            (
                """
def recognised_by_class(named, asked, classes):
    right = (named == asked).float()
    return torch.stack([right[asked == c].mean() for c in range(classes + 1)])
""",
                '"no motion" is an answer',
            ),
        ],
    },
    '30_nested': {
        '1. One token missing': [
            ('my_factor = falls[15] / falls[14]', 'decibels are a logarithm'),
            ('my_factor = falls[15] - falls[14]', 'that is the difference in dB'),
            ('my_factor = 10 ** ((falls[15] - falls[14]) / 20)', 'is 10 dB, not 20'),
            ('my_factor = 10 ** ((falls[14] - falls[15]) / 10)', 'turn your ratio around'),
        ],
        '2. How often is token 5 decoded?': [
            ('my_share = 1 - at_least(5) / 2', 'u below log 5 / log 33'),
            ('my_share = 0.526', 'k need not be exactly 5'),
            ('my_share = 0.27', 'add their half'),
            ('my_share = 0.5 + at_least(6) / 2', 'with k = 5 token 5 is there'),
            ('my_share = 1 - math.log(5) / math.log(33)', 'the other half keep all'),
            ('my_share = 0.23', 'in which token 5 is missing'),
            ('my_share = 0.5 + 0.5 * 28 / 32', 'its logarithm is'),
            ('my_share = 77', 'is it per cent'),
        ],
        '3. Rows of different lengths': [
            (
                """
def decode_rows(tok, rows):
    k = min(len(row) for row in rows)
    return tok.decode(torch.stack([row[:k] for row in rows]))
""",
                'to the length of the shortest',
            ),
            (
                """
def decode_rows(tok, rows):
    return tok.decode(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))
""",
                'fill short rows up with zeros',
            ),
            (
                """
def decode_rows(tok, rows):
    lengths = [len(row) for row in rows]
    groups = [[row for row in rows if len(row) == k] for k in sorted(set(lengths))]
    return torch.cat([tok.decode(torch.stack(group)) for group in groups])
""",
                'the clips are in the order of the lengths',
            ),
            (
                """
def decode_rows(tok, rows):
    return torch.cat([tok.decode(row[None]) for row in rows])
""",
                'you decode 5 times',
            ),
            (
                """
def decode_rows(tok, rows):
    return [tok.decode(row[None])[0] for row in rows]
""",
                'the result is a list, expected a tensor',
            ),
        ],
    },
    '31_widgets': {
        '1. How often is it drawn?': [
            ('my_count = 6', 'setting the value that is there already'),
            ('my_count = 5', '9 and 7 are the same value'),
            ('my_count = 3', 'without the first picture'),
        ],
        '2. A page without a kernel': [
            (
                """
film = animated_png([[clips[0].video[0], clips[4].video[0]]])
my_megabytes = 9 * 32 * 1024 * len(film) / 1e6
""",
                'four characters for three bytes',
            ),
            (
                """
film = animated_png([[clips[0].video[0], clips[4].video[0]]])
my_megabytes = 32 * 1024 * len(data_uri(film)) / 1e6
""",
                'the menu has nine',
            ),
            (
                """
film = animated_png([[clips[0].video[0], clips[4].video[0]]])
my_megabytes = (9 + 32 + 1024) * len(data_uri(film)) / 1e6
""",
                'they do not add up',
            ),
        ],
        '3. One clip at two speeds': [
            (
                """
def two_speeds(video):
    return torch.cat([video, video], 1), video.repeat(1, 2, 1, 1)
""",
                'your second clip is played twice',
            ),
            (
                """
def two_speeds(video):
    return video, video.repeat_interleave(2, 1)
""",
                'your first clip has 4 frames, expected 8',
            ),
            (
                """
def two_speeds(video):
    return video.repeat_interleave(2, 1), torch.cat([video, video], 1)
""",
                'the two clips are exchanged',
            ),
            (
                """
def two_speeds(video):
    return torch.cat([video, video], 1), video.repeat_interleave(2, 2)
""",
                'your second clip: the result has shape (3, 4, 10, 6)',
            ),
            ('two_speeds = lambda video: video', 'expected two clips'),
        ],
        '4. Compute only what has changed': [
            ('remembering = lambda work: work', '`work` runs twice'),
            ('remembering = lambda work: work()', 'before anybody asks'),
            (
                REMEMBERING.replace("'known' not in last or last['known'] != args", 'not last'),
                'the result of the old ones',
            ),
            (
                REMEMBERING.replace("last['known'] != args", "last['known'][:1] != args[:1]"),
                'only the second argument is new',
            ),
            (
                REMEMBERING.replace("'known' not in last", "last.get('result') is None"),
                'a result that is None is computed again',
            ),
            (REMEMBERING, 'after an error'),
            (
                'last = {}' + REMEMBERING.replace('    last = {}', ''),
                'two functions share one memory',
            ),
        ],
    },
    '32_explore': {
        '1. How many blocks?': [
            ("my_blocks = shares['holistic'].mean() * 32", 'that is the holistic tokenizer'),
            ('my_blocks = share.mean() * 16', 'a clip has 32 blocks, not 16'),
            ('my_blocks = share.mean()', 'expected the number of blocks'),
            ('my_blocks = 1', 'look at what was measured'),
        ],
        '2. Never much worse than a blind guess': [
            ('my_bits = 10', 'here it has only half of the probability'),
            ('my_bits = 20', 'one bit more, not twice the bits'),
            ('my_bits = 9', 'costs more bits, not fewer'),
        ],
        '3. A cautious generator': [
            (
                """
def mixed_bits(bits, share, codes):
    return -(0.5 * 2.0**-bits + 0.5 / codes).log2()
""",
                'need not be one half',
            ),
            (
                """
def mixed_bits(bits, share, codes):
    return -(2.0 ** -bits.double() + share / codes).log2()
""",
                'keeps only `1 - share`',
            ),
            (
                """
def mixed_bits(bits, share, codes):
    return (1 - share) * bits + share * math.log2(codes)
""",
                'an impossible token has infinitely many',
            ),
            (
                """
def mixed_bits(bits, share, codes):
    return -(share * 2.0**-bits + (1 - share) / codes).log2()
""",
                'the two shares are exchanged',
            ),
            (
                """
def mixed_bits(bits, share, codes):
    return -((1 - share) * 2.0**-bits + share / codes).log()
""",
                'these are nats',
            ),
            (
                """
def mixed_bits(bits, share, codes):
    return -((1 - share) * 2.0**-bits + share / 1024).log2()
""",
                '`codes` need not be 1,024',
            ),
            (
                """
def mixed_bits(bits, share, codes):
    return -((1 - share) * (-bits).exp() + share / codes).log2()
""",
                'there is no e here',
            ),
        ],
        '4. Between two clips': [
            (
                """
def between(tok, first, second, share):
    x, y = (tok.quantizer.embedding.weight[indices] for indices in (first, second))
    return tok.quantizer(torch.lerp(x, y, share), sample=False).indices
""",
                'you mix raw rows of the codebook',
            ),
            (
                """
def between(tok, first, second, share):
    return torch.lerp(first.float(), second.float(), share).round().long()
""",
                'code 5 is not between codes 4 and 6',
            ),
            (
                """
def between(tok, first, second, share):
    x, y = tok.quantizer.lookup(first), tok.quantizer.lookup(second)
    return tok.quantizer(torch.lerp(y, x, share), sample=False).indices
""",
                'share 0 gives the second clip',
            ),
            (
                """
def between(tok, first, second, share):
    k = round((1 - share) * first.shape[1])
    return torch.cat([first[:, :k], second[:, k:]], 1)
""",
                'mix vectors, not tokens',
            ),
            (
                """
def between(tok, first, second, share):
    x, y = tok.quantizer.lookup(first), tok.quantizer.lookup(second)
    return torch.lerp(x, y, share)
""",
                'the result has shape (1, 32, 8), expected (1, 32)',
            ),
            (
                """
def between(tok, first, second, share):
    x, y = tok.quantizer.lookup(first), tok.quantizer.lookup(second)
    near = 0.5 if 0 < share < 1 else share
    return tok.quantizer(torch.lerp(x, y, near), sample=False).indices
""",
                'is not the nearest to its vector',
            ),
        ],
    },
    '33_claims': {
        '1. What has the prior bought?': [
            ('my_nats = 46 - 36', 'a mixture of the two others beats it'),
            ('my_nats = 50 - 36', 'whose PSNR is higher'),
            ('my_nats = 42 - 36', 'the frontier joins the lowest points only'),
        ],
        '2. The same numbers without pairs': [
            (
                interval('T975[n - 2] * math.sqrt(sum(spreads) / n)'),
                't for n - 1 degrees of freedom',
            ),
            (
                interval('T975[2 * n - 3] * math.sqrt(sum(spreads))'),
                'you forgot to divide the variances by n',
            ),
            (
                interval('T975[2 * n - 3] * math.sqrt(sum(spreads) / n)', own='n'),
                'divide the squared deviations by n - 1',
            ),
            (
                """
def unpaired_interval(first, second):
    return paired_interval([a - b for a, b in zip(first, second)])
""",
                'that is the paired interval',
            ),
            (interval('T975[3] * math.sqrt(sum(spreads) / n)'), 'your t is that of n = 3'),
            (
                interval('T975[2 * n - 2] * math.sqrt(sum(spreads) / n)'),
                'your place in it is off by one',
            ),
            (
                interval('T975[2 * n - 1] * math.sqrt(sum(spreads) / n)'),
                't for 2 n degrees of freedom',
            ),
            (interval('1.96 * math.sqrt(sum(spreads) / n)'), '1.96 is for many values'),
            (
                interval('T975[2 * n - 3] * sum(math.sqrt(s / n) for s in spreads)'),
                'you added standard errors',
            ),
            (
                interval('T975[2 * n - 3] * math.sqrt(sum(spreads) / 2 / n)'),
                'you averaged the variances',
            ),
            (interval('T975[2 * n - 3] * sum(spreads) / n'), 'you forgot the root'),
            (interval('-T975[2 * n - 3] * math.sqrt(sum(spreads) / n)'), 'low is above high'),
            ('unpaired_interval = lambda first, second: (2.0, 16.2)', 'expected three numbers'),
        ],
    },
    '34_grid': {
        '1. One more arm': [
            ('my_points = 2', 'that is for one seed'),
            ('my_points = 5', 'a generator, which is a point, too'),
            ('my_points = 6', 'five seeds, not three'),
            ('my_points = 15', 'is there already, and is trained once'),
        ],
        '2. Parents first': [
            ('parents_first = lambda points: set(points)', 'the result is a set'),
            ('parents_first = lambda points: None', 'is a `return` missing?'),
            (
                """
def parents_first(points):
    found, todo = [], list(points)
    while todo:
        point = todo.pop(0)
        if point not in found:
            found.append(point)
            todo += point.parents
    return found[::-1]
""",
                'which it needs',
            ),
            (
                """
def parents_first(points, seen={}):
    for point in points:
        parents_first(point.parents, seen)
        seen[point] = None
    return list(seen)
""",
                'expected the 2 that are needed',
            ),
            ('parents_first = lambda points: points', 'is missing'),
            (
                'parents_first = lambda points: [q for p in points for q in (*p.parents, p)]',
                'base-seed0 is missing',
            ),
            (
                'parents_first = lambda points: [q for p in points for q in (*lineage(p), p)]',
                'is there 2 times, expected once',
            ),
            (
                """
def parents_first(points):
    found = dict.fromkeys(points)
    for point in points:
        found |= dict.fromkeys(lineage(point))
    return list(found)
""",
                'which it needs',
            ),
            ('parents_first = lambda points: [p.id for p in points]', 'expected a list of points'),
            (
                """
def parents_first(points):
    return list(make_grid(REGIMES['tiny'], 1, (1,)))
""",
                'expected the 5 that are needed',
            ),
        ],
    },
    '35_scalar': {
        '1. As many codes as LARP': [
            ('my_numbers = 5', 'are 3,125 codes'),
            ('my_numbers = 13', 'with 2 levels it would be that many'),
            ('my_numbers = 8192 / 5', 'they do not add them'),
            ('my_numbers = math.log(8192) / math.log(5)', 'take the next whole one'),
        ],
        '2. Neighbours': [
            (
                'neighbours = lambda i, levels, n: [k for k in (i - 1, i + 1) if 0 <= k < 256]',
                'is missing',
            ),
            (
                """
def neighbours(index, levels, numbers):
    steps = [levels**k for k in range(numbers)]
    return sorted(index + s for d in steps for s in (d, -d) if 0 <= index + s < 256)
""",
                'no neighbours',
            ),
            (
                """
def neighbours(index, levels, numbers):
    found = set()
    for k in range(numbers):
        digit = index // levels**k % levels
        for other in ((digit - 1) % levels, (digit + 1) % levels):
            found.add(index + (other - digit) * levels**k)
    return sorted(found)
""",
                'jumps from one end to the other',
            ),
            (
                """
def neighbours(index, levels, numbers):
    rows = [[k // levels**j % levels for j in range(numbers)] for k in range(256)]
    return [k for k in range(256) if sum(abs(a - b) for a, b in zip(rows[k], rows[index])) <= 1]
""",
                'is among its own neighbours',
            ),
            ('neighbours = lambda i, levels, n: torch.tensor([i])', 'you return a Tensor'),
            (
                """
def neighbours(index, levels, numbers):
    steps = [4**k for k in range(4)]
    digits = [index // s % 4 for s in steps]
    up = [index + s for s, d in zip(steps, digits) if d < 3]
    return sorted(up + [index - s for s, d in zip(steps, digits) if d > 0])
""",
                'two numbers of 3 levels',
            ),
        ],
    },
    '40_i3d': {
        '1. Padding on both sides': [
            ('my_numbers = 98', 'that is with `pad_same`'),
            ('my_numbers = 147', 'rows and columns are padded, too'),
            ('my_numbers = 1536', 'the numbers before the pool'),
        ],
        '2. A file of your own': [
            (
                """
def add_mine(path):
    return WeightFile(f'file://{path}', 'mine.pt', sha256=sha256_of(path))
""",
                "I3D_FILES has no entry 'mine'",
            ),
            (
                """
def add_mine(path):
    I3D_FILES['mine'] = WeightFile(f'file://{path}', 'mine.pt')
""",
                'there is no checksum',
            ),
            (
                """
def add_mine(path):
    sha = hashlib.sha256(str(path).encode()).hexdigest()
    I3D_FILES['mine'] = WeightFile(f'file://{path}', 'mine.pt', sha256=sha)
""",
                'the checksum of the name of the file',
            ),
            (
                """
def add_mine(path):
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    I3D_FILES['mine'] = WeightFile(f'file://{path}', 'mine.pt', sha256=md5)
""",
                '(SHA-256)',
            ),
            (
                """
def add_mine(path):
    I3D_FILES['mine'] = WeightFile(str(path), 'mine.pt', sha256=sha256_of(path))
""",
                'expected one that begins with file://',
            ),
            ("def add_mine(path):\n    I3D_FILES['mine'] = path", 'expected a WeightFile'),
            (
                """
def add_mine(path):
    I3D_FILES['mine'] = WeightFile(f'file://{path}', 'mine.pt', sha256_of(path))
""",
                'the third field is the size',
            ),
        ],
    },
    '41_pretrained': {
        '1. Which constant can be seen?': [
            ('my_constant = 1e-4', 'the same with 1e-4'),
            ('my_constant = 1e-3', 'the same with 1e-3'),
            ('my_constant = 0.1', 'with a smaller constant already'),
        ],
        '3. Weights of your own model': [
            (
                "def my_names():\n    return {'wte': 'tokens', 'lm_head': 'head'}",
                'left and right are exchanged',
            ),
            ("def my_names():\n    return {'head': 'lm_head'}", '`tokens` has no line'),
            (
                "def my_names():\n    return {'Mine': {'tokens': 'wte', 'head': 'lm_head'}}",
                'return the inner dict',
            ),
            (
                "def my_names():\n    return {'tokens.weight': 'wte.weight', 'head.weight': 'x'}",
                'without .weight and .bias',
            ),
            ("def my_names():\n    return {'tokens': 'lm_head', 'head': 'wte'}", 'lacks wte.bias'),
            ("def my_names():\n    return ['wte', 'lm_head']", 'is a list, expected a dict'),
        ],
    },
    '42_shards': {
        '1. Bytes of an hour': [
            ('my_megabytes = 3600 * 25 * 128 * 128 / 1e6', 'three colours'),
            ('my_megabytes = 60 * 25 * 128 * 128 * 3 / 1e6', 'of a minute'),
            ('my_megabytes = 3600 * 25 * 128 * 128 * 12 / 1e6', 'floats of four bytes'),
            ('my_megabytes = 4.42', 'these are gigabytes'),
            ('my_megabytes = 1.23', 'of a second'),
        ]
    },
    '43_datasets': {
        '1. What is cut away': [
            ('my_lost = 15', 'the most that a film can lose'),
            ('my_lost = 16', 'never lost whole'),
            ('my_lost = 8', 'half a window'),
            ('my_lost = 3', 'too small'),
        ],
        '2. Both sides of a split': [
            ('my_share = 0.72**5 + 0.28**5', 'on one side only'),
            ('my_share = 2 * 0.28 * 0.72', 'groups of two clips'),
            ('my_share = 1 - 0.72**5', 'in the test set as a whole'),
            ('my_share = 0.28', 'the share of clips in the test set'),
            ('my_share = 80.5', 'is it per cent'),
        ],
    },
    '44_recipes': {
        '1. A year of video': [
            ('my_hours = 59_904_000 * 16 / 25 / 60', 'these are minutes'),
            ('my_hours = 59_904_000 / 25 / 3600', '16 frames, not one'),
            ('my_hours = 59_904_000 * 16 / 3600', '25 frames'),
            ('my_hours = 443.7', 'these are days'),
            ('my_hours = 426', 'not twice'),
        ],
        '2. A smaller card': [
            (
                """
def smaller_card(recipe):
    old = recipe.train
    train = replace(old, batch=old.batch // 4, steps=4 * old.steps, warmup=4 * old.warmup)
    return replace(recipe, train=replace(train, lr=old.lr / 4))
""",
                'has changed, too: train.lr',
            ),
            (
                """
def smaller_card(recipe):
    old = recipe.train
    for name, value in dict(batch=old.batch // 4, steps=4 * old.steps, warmup=80).items():
        object.__setattr__(old, name, value)
    return recipe
""",
                'make a new one with `replace`',
            ),
            (
                """
def smaller_card(recipe):
    return replace(recipe, train=replace(recipe.train, batch=recipe.train.batch // 4))
""",
                'a quarter of the clips only',
            ),
            (
                """
def smaller_card(recipe):
    old = recipe.train
    return replace(recipe, train=replace(old, batch=old.batch // 4, steps=4 * old.steps))
""",
                'the warm-up is counted in steps, too',
            ),
            (
                """
def smaller_card(recipe):
    recipe.train.batch //= 4
    return recipe
""",
                'raises an error: FrozenInstanceError',
            ),
            (
                """
def smaller_card(recipe):
    return replace(recipe.train, batch=recipe.train.batch // 4)
""",
                'is a TrainConfig, expected a TokenizerRecipe',
            ),
            (
                """
def smaller_card(recipe):
    return replace(recipe, train=replace(recipe.train, batch=recipe.train.batch * 4))
""",
                'the batch is',
            ),
            (
                """
def smaller_card(recipe):
    old = recipe.train
    counted = dict(batch=old.batch // 4, steps=4 * old.steps, warmup=4 * old.warmup)
    return TokenizerRecipe(recipe.model, replace(old, **counted))
""",
                'another field than',
            ),
        ],
    },
    '45_token_cache': {
        '1. A cache of UCF101': [
            ('my_megabytes = 107_000 * 1024 * 4 / 1e6', 'not with four'),
            ('my_megabytes = 178', 'not packed into 13 bits'),
            ('my_megabytes = 0.22', 'that is gigabytes'),
            ('my_megabytes = 107_000 * 1024 * 8 / 1e6', 'not with the eight'),
            ('my_megabytes = 107_000 * 1024 / 1e6', 'counts to 255 only'),
            ('my_megabytes = 9537 * 2048 / 1e6', 'all windows'),
        ]
    },
    '47_evaluation': {
        '1. A smaller sample': [
            ('my_factor = 2', 'the distance is squared'),
            ('my_factor = 0.25', 'larger, not smaller'),
            ('my_factor = 1', 'would not matter'),
        ]
    },
    '48_benchmark': {
        '1. The least time of a token': [
            ('my_seconds = 1024 * 632e6 / 3.35e12', 'two bytes'),
            ('my_seconds = 1024 * 632e6 * 4 / 3.35e12', 'would be 32 bits'),
            ('my_seconds = 632e6 * 2 / 3.35e12', 'that is one token'),
            ('my_seconds = 0.410', 'that counts the cache, too'),
        ]
    },
    '49_cli': {
        '2. A command of your own': [
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: Path

    def run(self):
        from larp_edu import encode_video, load_tokenizer
        print(encode_video(load_tokenizer('tokenizer'), self.film)[0].tolist())
""",
                'with --tokenizer any_count it prints the tokens of another',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: Path
""",
                'has no method `run`',
            ),
            (
                """
class Encode:
    tokenizer: str
    film: Path

    def run(self):
        print([1])
""",
                'is `@dataclass` there?',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: Path

    def run(self):
        from larp_edu import LARPTokenizer, encode_video
        print(encode_video(LARPTokenizer.load(self.tokenizer), self.film)[0].tolist())
""",
                'is the name of a shipped tokenizer',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: Path

    def run(self):
        from larp_edu import encode_video, load_tokenizer
        print(encode_video(load_tokenizer(self.tokenizer), self.film))
""",
                'it prints a tensor',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: Path

    def run(self):
        from larp_edu import encode_video, load_tokenizer
        print(encode_video(load_tokenizer(self.tokenizer), self.film).tolist())
""",
                'a list in a list',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: Path

    def run(self):
        from larp_edu import encode_video, load_tokenizer
        return encode_video(load_tokenizer(self.tokenizer), self.film)[0].tolist()
""",
                '`run` prints nothing',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    film: str

    def run(self):
        from larp_edu import encode_video
        print(encode_video(self.tokenizer, self.film)[0].tolist())
""",
                'raises an error: AttributeError',
            ),
            (
                """
@dataclass
class Encode:
    tokenizer: str
    file: Path

    def run(self):
        print([1, 2])
""",
                'are the fields called so?',
            ),
        ]
    },
}
