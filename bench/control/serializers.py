"""The JSON of Satsuma's product list, product and order, as far as the control has the data."""

from rest_framework import serializers

from bench.control.models import Order, OrderLine, Product, Variant


class VariantSerializer(serializers.ModelSerializer):
    available = serializers.IntegerField(source="stock")

    class Meta:
        model = Variant
        fields = ["sku", "name", "price", "currency", "available"]


class ProductSerializer(serializers.ModelSerializer):
    category = serializers.CharField(source="category.slug")
    variants = VariantSerializer(many=True)

    class Meta:
        model = Product
        fields = ["id", "slug", "name", "description", "category", "variants"]


class ItemSerializer(serializers.Serializer):
    sku = serializers.CharField(max_length=64)
    quantity = serializers.IntegerField(min_value=1, max_value=10_000)


class AddressSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=200)
    line1 = serializers.CharField(max_length=200)
    line2 = serializers.CharField(max_length=200, required=False)
    city = serializers.CharField(max_length=200)
    postal_code = serializers.CharField(max_length=20)
    country = serializers.RegexField(r"^[A-Z]{2}$")


class PaymentMethodSerializer(serializers.Serializer):
    provider = serializers.CharField(max_length=30)
    token = serializers.CharField(max_length=255)


class PlaceOrderSerializer(serializers.Serializer):
    email = serializers.EmailField()
    items = ItemSerializer(many=True, allow_empty=False)
    shipping_address = AddressSerializer()
    payment_method = PaymentMethodSerializer()


class LineSerializer(serializers.ModelSerializer):
    sku = serializers.CharField(source="variant.sku")

    class Meta:
        model = OrderLine
        fields = ["sku", "name", "quantity", "unit_price", "total"]


class OrderSerializer(serializers.ModelSerializer):
    payment = serializers.CharField(source="payment.status")

    class Meta:
        model = Order
        fields = ["id", "number", "status", "created_at", "email", "total", "currency", "payment"]
