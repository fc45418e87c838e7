"""Typical wrong answers to the exercises, and a part of the sentence that each must get.

{page: {title of the exercise: [(code of the answer, part of what is said), ...]}}. The code runs
after the page, in its names."""

# what two of the wrong answers on page 18 begin with
LARGEST = """
class LargestSoFar(Objective):
    def __init__(self):
        self.largest = torch.zeros(())

    def __call__(self, model, batch, progress):
        loss = F.mse_loss(model(batch[0]), batch[1])
        self.largest.copy_(torch.maximum(self.largest, loss.detach()))
        return loss, dict(largest=self.largest)
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
        ],
    },
    '12_patchwise': {
        '1. How lucky can a shuffle be?': [
            ("my_nats = counted['raster']", 'that is raster order'),
            ('my_nats = math.log(K)', 'that is a blind guess'),
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
        ],
    },
    '13_holistic': {
        '1. Shuffled tokens': [
            ('my_psnr = psnr(drawn, large_clips)', 'here order counts'),
            ('my_psnr = PLATEAU', 'shuffled tokens lose these, too'),
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
        ],
    },
    '14_quantize': {
        '1. The loss at a right angle': [
            ('my_loss = 0.5', 'you counted both losses in full'),
            ('my_loss = 2.5', 'that is the sum over the 8 numbers'),
            ('my_loss = 0.25', 'that is the codebook loss alone'),
        ],
        '2. Who moves the codebook?': [
            ('my_rows = 128', 'a row that no token chose'),
            ('my_rows = 48', 'two tokens often choose the same row'),
            ('my_rows = 0', 'the loss does move the codebook'),
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
                'the sum of its three tokens, expected their mean',
            ),
            (
                """
def move_rows(codebook, z, indices, keep):
    counts = torch.bincount(indices, minlength=len(codebook))[:, None]
    sums = torch.zeros_like(codebook).index_add_(0, indices, z)
    return keep * codebook + (1 - keep) * sums / counts.clamp(min=1)
""",
                'row 4, which no token chose, has moved',
            ),
        ],
    },
    '15_losses': {
        '1. The best logit': [
            ('my_logit = 0.9', 'the question asks for the logit'),
            ('my_logit = np.log10(9)', 'base 10'),
            ('my_logit = -np.log(9)', 'wrong in sign'),
            ('my_logit = 2.0', 'the released targets'),
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
        ],
    },
    '16_prior': {
        '1. A prior that is certain': [
            ('my_loss = 0', 'cosines end at 1'),
            ('my_loss = prior_bounds(128)[0]', 'that is the floor'),
            ('my_loss = math.log(128)', 'knows nothing'),
        ],
        '2. Half of the uniform loss': [
            ('my_temperature = 1', 'the floor is 7.0 of 9.0'),
            ('my_temperature = 0.22', 'differ by up to 2'),
        ],
        '3. Among the first five': [
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
                'a guess that repeats the last token is right',
            ),
        ],
    },
    '17_tokenizer': {
        '1. How small is a clip?': [
            ('my_ratio = 768', 'needs 13 bits'),
            ('my_ratio = 59', 'a byte has 8 bits'),
            ('my_ratio = 157.5', 'three colours'),
        ],
        '2. A parameter budget': [
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
            ("my_share = heights['LARP'][2] / sum(heights['LARP'])", 'two of them need indices'),
            (
                "my_share = heights['LARP'][2] / (sum(heights['LARP']) - heights['LARP'][4])",
                'the prior needs indices as well',
            ),
            ('my_share = 60', 'is it per cent'),
        ],
        '2. The largest loss so far': [
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
            (
                """
class LargestSoFar(Objective):
    def __init__(self):
        self.largest = torch.zeros(())

    def __call__(self, model, batch, progress):
        loss = F.mse_loss(model(batch[0]), batch[1])
        self.largest.copy_(loss.detach())
        return loss, dict(largest=self.largest)

    def state_dict(self):
        return dict(largest=self.largest)
""",
                'the last loss, not the largest',
            ),
        ],
    },
}
