"""Generated support tickets in three classes, and reviews in Chinese and Thai, for trainings like those of users."""

import csv
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_WHAT = ("parcel", "order", "invoice", "kettle", "lamp", "jacket", "router", "headset", "account", "subscription")
_WHEN = ("yesterday", "on Monday", "last week", "two days ago", "this morning", "in March")
_OPENINGS = ("Hello,", "Hi there,", "Dear team,", "Good morning,", "")
_CLOSINGS = ("Regards", "Best wishes", "Anna", "Sent from my phone", "")
_TICKETS: Mapping[str, Sequence[str]] = {
    "complaint": (
        "the {what} broke {when} and nobody answers",
        "my {what} arrived damaged {when}",
        "I am still waiting for the {what} that was promised {when}",
        "this {what} does not work at all, I want my money back",
        "the {what} was charged twice {when}",
    ),
    "praise": (
        "thank you, the {what} came {when} and works very well",
        "great service, the {what} was replaced {when} without fuss",
        "I love the {what}, my friends want one as well",
        "your colleague solved the problem with the {what} {when}, wonderful",
    ),
    "question": (
        "where can I find the {what} that I ordered {when}?",
        "how do I change the {what}?",
        "is the {what} available in blue?",
        "can you send the papers for the {what} again?",
        "which {what} do you recommend?",
    ),
}

_CHINESE = {
    "positive": ("好看", "精彩", "感人", "有趣", "动人", "温暖"),
    "negative": ("难看", "无聊", "失望", "沉闷", "糟糕", "乏味"),
}
_CHINESE_SUBJECTS = ("这部电影", "这个故事", "导演的作品", "演员的表演", "影片的音乐", "那场戏", "结局")
_CHINESE_DEGREES = ("真的很", "实在是太", "让人觉得", "确实非常", "其实有点", "可以说是")
_CHINESE_OTHERS = ("我和朋友一起看的", "昨天晚上在家看完", "一共两个小时", "票价三十块", "讲的是两个人的旅行")

_THAI = {
    "positive": ("สนุก", "ประทับใจ", "ยอดเยี่ยม", "สวยงาม", "น่ารัก", "อบอุ่น"),
    "negative": ("น่าเบื่อ", "แย่", "ผิดหวัง", "ห่วย", "น่ารำคาญ", "เสียเวลา"),
}
_THAI_SUBJECTS = ("หนังเรื่องนี้", "เรื่องราว", "ผู้กำกับ", "นักแสดง", "เพลงประกอบ", "ฉากนั้น", "ตอนจบ")
_THAI_DEGREES = ("จริงๆ", "ทำให้รู้สึก", "เป็นอะไรที่", "ค่อนข้าง", "ดูแล้ว")
_THAI_OTHERS = ("ดูกับเพื่อนเมื่อวาน", "ยาวสองชั่วโมง", "ตั๋วราคาร้อยบาท", "คนในโรงเยอะมาก")


def write_tickets(path: Path, count: int = 600) -> Path:
    """Write a CSV file of support tickets with the labels complaint, praise and question."""

    def ticket(label: str, chance: random.Random) -> str:
        sentence = chance.choice(_TICKETS[label]).format(what=chance.choice(_WHAT), when=chance.choice(_WHEN))
        other = chance.choice(_WHAT)
        also = chance.choice(("", f"I also have a {other}.", f"My {other} is from {chance.choice(_WHEN)}."))
        parts = (chance.choice(_OPENINGS), sentence + ".", also, chance.choice(_CLOSINGS))
        return " ".join(part for part in parts if part)

    return _write(path, tuple(_TICKETS), ticket, count)


def write_chinese_reviews(path: Path, count: int = 400) -> Path:
    """Write a CSV file of Chinese reviews, which have no spaces between words."""
    return _write(path, tuple(_CHINESE), _review(_CHINESE, _CHINESE_SUBJECTS, _CHINESE_DEGREES, _CHINESE_OTHERS), count)


def write_thai_reviews(path: Path, count: int = 400) -> Path:
    """Write a CSV file of Thai reviews, which have no spaces between words."""
    return _write(path, tuple(_THAI), _review(_THAI, _THAI_SUBJECTS, _THAI_DEGREES, _THAI_OTHERS), count)


def _review(
    words: Mapping[str, Sequence[str]], subjects: Sequence[str], degrees: Sequence[str], others: Sequence[str]
) -> Callable[[str, random.Random], str]:
    def review(label: str, chance: random.Random) -> str:
        opinion = chance.choice(subjects) + chance.choice(degrees) + chance.choice(words[label])
        parts = [opinion, *(chance.choice(others) for _ in range(chance.randint(0, 3)))]
        chance.shuffle(parts)
        return "".join(parts)

    return review


def _write(path: Path, labels: Sequence[str], text: Callable[[str, random.Random], str], count: int) -> Path:
    chance = random.Random(11)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        table.writerows([text(label, chance), label] for label in (labels[n % len(labels)] for n in range(count)))
    return path
